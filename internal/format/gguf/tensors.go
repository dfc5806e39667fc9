package gguf

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/salver-ml/salver/internal/dtype/block"
)

// info is what the file says of a tensor.
type info struct {
	name   string
	format block.Format
	shape  []int // outermost dimension first
	offset uint64
	bytes  uint64
}

func (r *reader) tensor(i uint64) info {
	t := info{name: r.name(fmt.Sprintf("the name of tensor %d", i))}
	rank := r.uint32("the rank of a tensor")
	if r.err == nil && rank > maxRank {
		r.fail("tensor %q has %d dimensions, expected at most %d", t.name, rank, maxRank)
		return t
	}
	t.shape = make([]int, rank)
	for d := range t.shape {
		n := r.uint64("a dimension")
		if n > math.MaxInt {
			r.fail("dimension %d of tensor %q is %d, expected 1 to %d", d, t.name, n, math.MaxInt)
		}
		t.shape[len(t.shape)-1-d] = int(n)
	}
	number := r.uint32("the type of a tensor")
	t.offset = r.uint64("the offset of a tensor")
	if r.err != nil {
		return t
	}
	t.format = block.Format(number)
	if number > math.MaxUint8 || !t.format.Valid() {
		r.fail("tensor %q has ggml_type %d, which is not supported", t.name, number)
		return t
	}
	bytes, err := sizeOf(t.format, t.shape)
	if err != nil {
		r.fail("tensor %q: %w", t.name, err)
		return t
	}
	t.bytes = uint64(bytes)
	return t
}

// sizeOf is the number of bytes of a tensor.
func sizeOf(f block.Format, shape []int) (int, error) {
	row := 1
	if len(shape) > 0 {
		row = shape[len(shape)-1]
	}
	n, err := f.RowBytes(row)
	if err != nil {
		return 0, err
	}
	if len(shape) > maxRank || len(shape) > 0 && slices.Min(shape) < 1 {
		return 0, fmt.Errorf("shape %v: expected at most %d dimensions, each at least 1", shape, maxRank)
	}
	for _, d := range shape[:max(0, len(shape)-1)] {
		if n > math.MaxInt/d {
			return 0, fmt.Errorf("shape %v of %v has more bytes than this system can address", shape, f)
		}
		n *= d
	}
	return n, nil
}

// place gives the tensors their data, which begin at the first multiple of the
// alignment at or after byte end of b.
func (f *File) place(b []byte, end int, infos []info) error {
	data := b[end:]
	data = data[min(len(data), -end&(f.alignment-1)):]
	for i, t := range infos {
		if f.Has(t.name) {
			return fmt.Errorf("tensor %q occurs twice", t.name)
		}
		f.byName[t.name] = i
		if t.offset%uint64(f.alignment) != 0 {
			return fmt.Errorf("tensor %q is at offset %d, expected a multiple of %d, the alignment", t.name, t.offset, f.alignment)
		}
		if t.offset > uint64(len(data)) || t.bytes > uint64(len(data))-t.offset {
			return fmt.Errorf("tensor %q (%v, shape %v) takes bytes %d to %d of the data, which have %d: the file is cut off or damaged",
				t.name, t.format, t.shape, t.offset, t.offset+t.bytes, len(data))
		}
		at, n := int(t.offset), int(t.bytes)
		f.Tensors = append(f.Tensors, Tensor{t.name, t.format, t.shape, data[at : at+n : at+n]})
	}
	return disjoint(infos)
}

// disjoint refuses tensors that share bytes.
func disjoint(infos []info) error {
	sorted := slices.Clone(infos)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].offset < sorted[j].offset })
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if b.offset < a.offset+a.bytes {
			return fmt.Errorf("tensor %q at offset %d begins within tensor %q, which has %d bytes from offset %d", b.name, b.offset, a.name, a.bytes, a.offset)
		}
	}
	return nil
}
