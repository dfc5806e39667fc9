package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// nonZeroRef compares bits: a float is zero with or without its sign.
func nonZeroRef(c *op.Call) error {
	sign := uint64(0)
	if dt := c.In[0].DType; dt.IsFloat() {
		sign = 1 << (dt.Bits() - 1)
	}
	switch c.In[0].DType.Bits() {
	case 8:
		nonZero[uint8](c, ^sign)
	case 16:
		nonZero[uint16](c, ^sign)
	case 32:
		nonZero[uint32](c, ^sign)
	case 64:
		nonZero[uint64](c, ^sign)
	}
	return nil
}

// nonZero lists the elements that have a bit of mask.
func nonZero[T uint8 | uint16 | uint32 | uint64](c *op.Call, mask uint64) {
	x := c.In[0]
	v, bits := tensor.Of[T](x), T(mask)
	total := 0
	for _, e := range v {
		total += one(e & bits)
	}
	rank := x.Rank()
	out := tensor.Of[int64](c.Output(0, dtype.Int64, rank, total))
	if len(out) == 0 {
		return
	}
	row, at := x.Shape[rank-1], make([]int, rank)
	columns := out[(rank-1)*total:]
	for k := 0; k < total; v = v[row:] {
		first := k
		for i, e := range v[:row] {
			if k == total {
				break
			}
			columns[k] = int64(i) // is written over unless it counts
			k += one(e & bits)
		}
		for d, i := range at[:rank-1] {
			for n := first; n < k; n++ {
				out[d*total+n] = int64(i)
			}
		}
		for d := rank - 2; d >= 0; d-- {
			if at[d]++; at[d] < x.Shape[d] {
				break
			}
			at[d] = 0
		}
	}
}

// one is 1 for bits other than zero, without a branch that random numbers would mislead.
func one[T uint8 | uint16 | uint32 | uint64](bits T) int {
	n := uint64(bits)
	return int((n | -n) >> 63)
}
