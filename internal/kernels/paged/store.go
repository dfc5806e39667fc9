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
	room []uint16 // for a token's keys and values in float16, of each chunk
}

// chunks prepares the task and gives the number of its chunks.
func (t *storeTask) chunks(p *Problem) int {
	t.Problem = p
	n := tiling.Ceil(p.Tokens, storeTokens)
	if need := n * 2 * p.KVHeads * p.D; p.K.DType == dtype.Float16 && len(t.room) < need {
		t.room = make([]uint16, need)
	}
	return n
}

// Do stores chunk number i.
func (t *storeTask) Do(i int) {
	width := t.KVHeads * t.D
	for row := i * storeTokens; row < min((i+1)*storeTokens, t.Tokens); row++ {
		slot := int(t.Slots[row])
		if slot < 0 {
			continue
		}
		keys, values := t.NewK[row*width:(row+1)*width], t.NewV[row*width:(row+1)*width]
		if t.K.DType != dtype.Float16 {
			store(t.Problem, t.K.float32s(), t.V.float32s(), keys, values, slot)
			continue
		}
		room := t.room[i*2*width:][:2*width]
		elemwise.Float16s(room[:width], keys)
		elemwise.Float16s(room[width:], values)
		store(t.Problem, t.K.halves(), t.V.halves(), room[:width], room[width:], slot)
	}
}

// store writes a token's keys and values, of all heads, to a slot.
func store[T stored](p *Problem, k, v, keys, values []T, slot int) {
	block, place := slot/BlockTokens, slot%BlockTokens
	for h := range p.KVHeads {
		at, from := (block*p.KVHeads+h)*p.blockLen(), h*p.D
		column(k[at+place:], keys[from:from+p.D])
		copy(v[at+place*p.D:], values[from:from+p.D])
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
