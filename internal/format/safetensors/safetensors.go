// Package safetensors reads and writes the weights of models in the format of
// Hugging Face: a JSON header with names, types, shapes and offsets, then the
// data. A model may be split over several files with an index beside them.
//
// Tensors stay where they lie in the mapped file. Reading is safe on hostile
// input: the data must be covered by the tensors without holes or overlaps, and
// everything is compared with the file's length before it is used.
// Specification: huggingface/safetensors, README.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/mmap"
)

// maxHeader bounds the header in bytes, as the specification does.
const maxHeader = 100_000_000

// metadataKey is the member of the header that is no tensor.
const metadataKey = "__metadata__"

// types are the element types by their names in the header.
var types = map[string]dtype.Type{
	"F64": dtype.Float64, "F32": dtype.Float32, "F16": dtype.Float16, "BF16": dtype.BFloat16,
	"F8_E4M3": dtype.Float8E4M3FN, "F8_E5M2": dtype.Float8E5M2,
	"I64": dtype.Int64, "I32": dtype.Int32, "I16": dtype.Int16, "I8": dtype.Int8,
	"U64": dtype.Uint64, "U32": dtype.Uint32, "U16": dtype.Uint16, "U8": dtype.Uint8, "BOOL": dtype.Bool,
}

// File is a parsed file, or all shards of a model.
type File struct {
	// Metadata is the header's free text, such as "format": "pt".
	Metadata map[string]string
	// Tensors are in the order of their data, shard by shard. Their data are
	// the file's until Close.
	Tensors []Tensor

	byName map[string]int
	files  mmap.Files
}

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	Type  dtype.Type
	Shape []int  // outermost dimension first
	Data  []byte // row-major, little-endian; its address need not be a multiple of the element's size
}

// Parse reads one file from memory. The tensors alias b.
func Parse(b []byte) (*File, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("not a safetensors file: it has %d bytes, expected the header's length in the first 8", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader {
		return nil, foreign(b, n)
	}
	if n > uint64(len(b)-8) {
		return nil, fmt.Errorf("the header has %d bytes, but only %d follow: the file is cut off, or not a safetensors file", n, len(b)-8)
	}
	metadata, infos, err := parseHeader(b[8 : 8+n])
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	f := &File{Metadata: metadata, byName: map[string]int{}}
	if err := f.place(b[8+n:], infos); err != nil {
		return nil, err
	}
	return f, nil
}

// foreign says what a file is whose first bytes are no header's length.
func foreign(b []byte, n uint64) error {
	for _, f := range []struct{ magic, name string }{
		{"version ", "a pointer of Git LFS, not the model itself; fetch that: git lfs pull"},
		{"GGUF", "a GGUF file"},
		{"PK\x03\x04", "a ZIP archive (a PyTorch checkpoint?)"},
		{"\x80\x02", "a Python pickle (a PyTorch checkpoint?), which runs code when read"},
	} {
		if string(b[:len(f.magic)]) == f.magic {
			return fmt.Errorf("not a safetensors file: this is %s", f.name)
		}
	}
	return fmt.Errorf("the header has %d bytes by the first 8, expected at most %d: this is not a safetensors file", n, maxHeader)
}

// place gives the tensors their data, which follow each other without holes.
func (f *File) place(data []byte, infos []info) error {
	sort.SliceStable(infos, func(i, j int) bool {
		a, b := &infos[i], &infos[j]
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) < 0
	})
	at := uint64(0)
	for _, t := range infos {
		switch {
		case t.end > uint64(len(data)):
			return fmt.Errorf("tensor %q takes bytes %d to %d of the data, which have %d: the file is cut off or damaged", t.name, t.begin, t.end, len(data))
		case t.begin < at:
			return fmt.Errorf("tensor %q begins at byte %d of the data, within tensor %q, which ends at %d", t.name, t.begin, f.Tensors[len(f.Tensors)-1].Name, at)
		case t.begin > at:
			return fmt.Errorf("bytes %d to %d of the data belong to no tensor: expected %q to begin at %d", at, t.begin, t.name, at)
		}
		want, err := sizeOf(t.dtype, t.shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.name, err)
		}
		if uint64(want) != t.end-t.begin {
			return fmt.Errorf("tensor %q has %d bytes by its offsets, expected %d (%v, shape %v)", t.name, t.end-t.begin, want, t.dtype, t.shape)
		}
		f.byName[t.name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, Tensor{t.name, t.dtype, t.shape, data[t.begin:t.end:t.end]})
		at = t.end
	}
	if at != uint64(len(data)) {
		return fmt.Errorf("bytes %d to %d of the data belong to no tensor", at, len(data))
	}
	return nil
}

// sizeOf is the number of bytes of a tensor.
func sizeOf(t dtype.Type, shape []int) (int, error) {
	if slices.Contains(shape, 0) {
		return 0, nil
	}
	n := t.Bits() / 8
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		if n > math.MaxInt/d {
			return 0, fmt.Errorf("shape %v of %v has more bytes than this system can address", shape, t)
		}
		n *= d
	}
	return n, nil
}

// Tensor gives the tensor of that name.
func (f *File) Tensor(name string) (*Tensor, error) {
	i, ok := f.byName[name]
	if !ok {
		return nil, fmt.Errorf("the file has no tensor %q", name)
	}
	return &f.Tensors[i], nil
}

// Has reports whether there is a tensor of that name.
func (f *File) Has(name string) bool {
	_, ok := f.byName[name]
	return ok
}

// Release lets the system take back the memory of the files' pages, which are
// read again when they are needed.
func (f *File) Release() { f.files.Release() }

// Close unmaps the files; the tensors' data must not be used afterwards.
func (f *File) Close() error { return f.files.Close() }
