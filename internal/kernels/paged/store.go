package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// storeTokens is the number of tokens of a chunk of storeTask.
const storeTokens = 8

// storeTask writes the step's keys and values to their slots.
type storeTask struct{ *Problem }

// Do stores chunk number i.
func (t *storeTask) Do(i int) {
	for row := i * storeTokens; row < min((i+1)*storeTokens, t.Tokens); row++ {
		slot := int(t.Slots[row])
		if slot < 0 {
			continue
		}
		block, place := slot/BlockTokens, slot%BlockTokens
		for h := range t.KVHeads {
			at := (block*t.KVHeads + h) * t.blockLen()
			from := (row*t.KVHeads + h) * t.D
			t.K.put(at+place, BlockTokens, t.NewK[from:from+t.D])
			t.V.put(at+place*t.D, 1, t.NewV[from:from+t.D])
		}
	}
}

// put writes numbers from element at on, stride apart.
func (c *Cache) put(at, stride int, v []float32) {
	if c.DType == dtype.Float32 {
		dst := c.float32s()
		for i, x := range v {
			dst[at+i*stride] = x
		}
		return
	}
	dst := c.halves()
	for i, x := range v {
		dst[at+i*stride] = dtype.F32ToF16(x)
	}
}

func (c *Cache) float32s() []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(c.Data))), len(c.Data)/4)
}

func (c *Cache) halves() []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(c.Data))), len(c.Data)/2)
}

// Number is element i of a cache.
func (c *Cache) Number(i int) float64 {
	if c.DType == dtype.Float32 {
		return float64(c.float32s()[i])
	}
	return float64(dtype.F16ToF32(c.halves()[i]))
}
