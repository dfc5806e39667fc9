package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// storeTokens is the number of tokens of a chunk of storeTask.
const storeTokens = 8

// storeTask writes the step's keys and values to their slots.
type storeTask struct {
	*Problem
	keys []uint16 // room for a key in float16, of each chunk
}

// chunks prepares the task and gives the number of its chunks.
func (t *storeTask) chunks(p *Problem) int {
	t.Problem = p
	n := tiling.Ceil(p.Tokens, storeTokens)
	if need := n * p.D; p.K.DType == dtype.Float16 && len(t.keys) < need {
		t.keys = make([]uint16, need)
	}
	return n
}

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
			key, value := t.NewK[from:from+t.D], t.NewV[from:from+t.D]
			if t.K.DType == dtype.Float16 {
				keys := t.keys[i*t.D : (i+1)*t.D]
				elemwise.Float16s(keys, key)
				column(t.K.halves()[at+place:], keys)
				elemwise.Float16s(t.V.halves()[at+place*t.D:][:t.D], value)
				continue
			}
			column(t.K.float32s()[at+place:], key)
			copy(t.V.float32s()[at+place*t.D:], value)
		}
	}
}

// column writes a token's key, one number to each row of its block.
func column[T stored](dst, key []T) {
	dst = dst[:(len(key)-1)*BlockTokens+1]
	for i, x := range key {
		dst[i*BlockTokens] = x
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
