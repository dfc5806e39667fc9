// Package gguf reads and writes GGUF files, which hold language models for
// llama.cpp and its kin: metadata (key and value), and tensors in the
// block-quantized formats of dtype/block.
//
// Reading copies the metadata and leaves tensors where they lie in the mapped
// file. It is safe on hostile input: every count, length and offset is compared
// with the bytes that are there before it is used. Specification: ggml's
// docs/gguf.md, versions 2 and 3, little-endian.
package gguf

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/mmap"
)

// Limits of the format. maxName bounds keys, as the specification says, and tensors' names.
const (
	magic            = "GGUF"
	maxName          = 1<<16 - 1
	maxRank          = 4
	defaultAlignment = 32
	alignmentKey     = "general.alignment"
)

// File is a parsed file, or all shards of a split one.
type File struct {
	// Version is 2 or 3, of the first shard.
	Version int
	// Keys are the metadata's keys in the file's order.
	Keys []string
	// Metadata has Go values of the file's types: uint8 to uint64, int8 to
	// int64, float32, float64, bool, string, and slices of these.
	Metadata map[string]any
	// Tensors are in the file's order, shard by shard. Their data are the file's until Close.
	Tensors []Tensor

	alignment int
	byName    map[string]int
	files     mmap.Files
}

// Tensor is one tensor of a file.
type Tensor struct {
	Name   string
	Format block.Format
	// Shape has the outermost dimension first, which is the reverse of the
	// file's order. Blocks lie along the last one.
	Shape []int
	// Data is rows of whole blocks, as long as Format and Shape say.
	Data []byte
}

// Parse reads a file from memory. The tensors alias b.
func Parse(b []byte) (*File, error) {
	f, err := parse(b)
	if err != nil {
		return nil, err
	}
	n, err := f.UintOr(splitCount, 1)
	if err == nil && n > 1 {
		err = fmt.Errorf("this is one of %d shards of a model: open it as a file, with the others beside it", n)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func parse(b []byte) (*File, error) {
	r := &reader{b: b}
	f := &File{Metadata: map[string]any{}, byName: map[string]int{}, alignment: defaultAlignment}
	tensors, pairs := r.header(f)
	for i := uint64(0); i < pairs && r.err == nil; i++ {
		r.pair(f)
	}
	if r.err == nil {
		r.err = f.setAlignment()
	}
	var infos []info
	for i := uint64(0); i < tensors && r.err == nil; i++ {
		infos = append(infos, r.tensor(i))
	}
	if r.err == nil {
		r.err = f.place(b, r.at, infos)
	}
	if r.err != nil {
		return nil, r.err
	}
	return f, nil
}

// header reads what a file begins with.
func (r *reader) header(f *File) (tensors, pairs uint64) {
	if err := recognise(r.b); err != nil {
		r.err = err
		return 0, 0
	}
	r.at = len(magic)
	version := r.uint32("the version")
	f.Version = int(version)
	tensors, pairs = r.uint64("the number of tensors"), r.uint64("the number of metadata pairs")
	// The least that a pair takes: key of one byte, type, value of one byte;
	// a tensor: name of one byte, rank, type, offset.
	left := uint64(len(r.b) - r.at)
	if r.err == nil && (pairs > left/(8+1+4+1) || tensors > left/(8+1+4+4+8)) {
		r.fail("%d metadata pairs and %d tensors are announced: they don't fit in the %d bytes that follow", pairs, tensors, left)
	}
	return tensors, pairs
}

// recognise refuses other formats and versions by name.
func recognise(b []byte) error {
	start := string(b[:min(len(b), 8)])
	switch {
	case len(start) < 8:
		return fmt.Errorf("not a GGUF file: it has %d bytes, the header alone 24", len(b))
	case start[:4] == "FUGG":
		return errBigEndian
	case start[:4] == "lmgg" || start[:4] == "fmgg" || start[:4] == "tjgg" || start[:4] == "algg":
		return fmt.Errorf("this is a GGML file of the time before GGUF: convert it, or get the model as GGUF")
	case start == "version ":
		return fmt.Errorf("this is a pointer of Git LFS, not the model itself; fetch that: git lfs pull")
	case start[:4] != magic:
		return fmt.Errorf("not a GGUF file: expected it to start with %q, found %q", magic, start[:4])
	}
	switch v := le.Uint32(b[4:]); {
	case v == 2 || v == 3:
		return nil
	case v == 1:
		return fmt.Errorf("GGUF version 1 is not read, expected 2 or 3: convert the file again with a newer tool")
	case v&0xffff == 0:
		return errBigEndian
	default:
		return fmt.Errorf("GGUF version %d is not known here, expected 2 or 3", v)
	}
}

var errBigEndian = errors.New("this is a big-endian GGUF file: only little-endian ones are read; convert it with gguf-convert-endian")

// setAlignment takes the alignment of the tensors from the metadata.
func (f *File) setAlignment() error {
	v, ok := f.Metadata[alignmentKey]
	if !ok {
		return nil
	}
	n, isUint := v.(uint32)
	if !isUint || n == 0 || n&(n-1) != 0 || n > math.MaxInt32 {
		return fmt.Errorf("key %q is %v (%T): expected a power of two as uint32", alignmentKey, v, v)
	}
	f.alignment = int(n)
	return nil
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

// Alignment is the number of bytes of which every tensor's offset is a multiple,
// in the first shard.
func (f *File) Alignment() int { return f.alignment }

// Pairs is the metadata in the file's order, as Write takes it.
func (f *File) Pairs() []Pair {
	pairs := make([]Pair, len(f.Keys))
	for i, key := range f.Keys {
		pairs[i] = Pair{key, f.Metadata[key]}
	}
	return pairs
}

// Release lets the system take back the memory of the files' pages, which are
// read again when they are needed.
func (f *File) Release() { f.files.Release() }

// Close unmaps the files; the tensors' data must not be used afterwards.
func (f *File) Close() error { return f.files.Close() }

// merge adds the metadata and the tensors of a later shard.
func (f *File) merge(shard *File) error {
	for _, key := range shard.Keys {
		v := shard.Metadata[key]
		old, ok := f.Metadata[key]
		switch {
		case key == splitNumber:
		case !ok:
			f.Keys = append(f.Keys, key)
			f.Metadata[key] = v
		case !reflect.DeepEqual(old, v) && key != alignmentKey:
			return fmt.Errorf("key %q has another value than in the first shard", key)
		}
	}
	for name := range maps.Keys(shard.byName) {
		if f.Has(name) {
			return fmt.Errorf("tensor %q is in another shard too", name)
		}
	}
	for _, t := range shard.Tensors {
		f.byName[t.Name] = len(f.Tensors)
		f.Tensors = append(f.Tensors, t)
	}
	return nil
}
