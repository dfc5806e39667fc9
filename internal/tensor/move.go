package tensor

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
)

// CopyElements copies n elements of src from index from on to t's elements from
// index at on. Both have the same element type, whatever it is; the ranges must
// not overlap within one tensor.
func (t *Tensor) CopyElements(at int, src *Tensor, from, n int) {
	switch bits := t.DType.Bits(); {
	case t.DType == dtype.String:
		copy(t.Strings[at:at+n], src.Strings[from:from+n])
	case bits >= 8:
		size := bits / 8
		copy(t.Data[at*size:(at+n)*size], src.Data[from*size:(from+n)*size])
	case bits > 0:
		for i := range n {
			t.setBits(at+i, bits, src.bitsAt(from+i, bits))
		}
	}
}

// CopyStrided fills t: element (i0, i1, …) is src's element base + Σ iₖ·strides[k].
// Strides may be zero (repetition) or negative (reversal).
func (t *Tensor) CopyStrided(src *Tensor, base int, strides []int) {
	total := t.Len()
	if total == 0 {
		return
	}
	rank := len(t.Shape)
	row := 1
	if rank > 0 && strides[rank-1] == 1 {
		row = t.Shape[rank-1]
		rank--
	}
	at := make([]int, rank)
	for done := 0; done < total; done += row {
		t.CopyElements(done, src, base, row)
		for d := rank - 1; d >= 0; d-- {
			at[d]++
			base += strides[d]
			if at[d] < t.Shape[d] {
				break
			}
			base -= at[d] * strides[d]
			at[d] = 0
		}
	}
}

// Fill sets every element of t to element index of src, which has the same type.
func (t *Tensor) Fill(src *Tensor, index int) {
	if size := t.DType.Bits() / 8; size > 0 && len(t.Data) > 0 {
		n := copy(t.Data, src.Data[index*size:(index+1)*size])
		for n < len(t.Data) {
			n += copy(t.Data[n:], t.Data[:n])
		}
		return
	}
	t.CopyStrided(src, index, make([]int, len(t.Shape)))
}

// bitsAt reads a packed element of 1 to 4 bits, low bits first.
func (t *Tensor) bitsAt(i, bits int) byte {
	per := 8 / bits
	return t.Data[i/per] >> (i % per * bits) & (1<<bits - 1)
}

func (t *Tensor) setBits(i, bits int, v byte) {
	per := 8 / bits
	shift := i % per * bits
	mask := byte(1<<bits-1) << shift
	t.Data[i/per] = t.Data[i/per]&^mask | v<<shift
}

// Unpack gives the elements of a sub-byte tensor as raw bits, one a byte.
func (t *Tensor) Unpack() []byte {
	bits := t.DType.Bits()
	out := make([]byte, t.Len())
	for i := range out {
		out[i] = t.bitsAt(i, bits)
	}
	return out
}

// Pack is the inverse of Unpack: it stores the low bits of each v.
func (t *Tensor) Pack(v []byte) {
	bits := t.DType.Bits()
	for i, x := range v {
		t.setBits(i, bits, x&(1<<bits-1))
	}
}

// MaxElements bounds the tensors whose size comes from data: a wrong or hostile
// number must not exhaust the memory.
const MaxElements = 1 << 30

// CheckSize refuses shapes with negative sizes and those of more than
// MaxElements elements, empty dimensions not counted.
func CheckSize(dims []int) error {
	n := 1
	for _, d := range dims {
		if d < 0 {
			return fmt.Errorf("shape %v: expected sizes of at least 0", dims)
		}
		if n > MaxElements/max(d, 1) {
			return fmt.Errorf("shape %v: expected at most %d elements", dims, MaxElements)
		}
		n *= max(d, 1)
	}
	return nil
}
