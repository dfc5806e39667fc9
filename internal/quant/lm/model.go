package lm

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/tensor"
)

// Model is a language model as a GGUF file holds it, whatever it is read from.
type Model struct {
	Path    string
	Pairs   []gguf.Pair // metadata
	Tensors []Tensor    // in the order of the file
	// Warnings are what a reader of the result should know of the conversion.
	Warnings []string

	converted bool              // from a folder, not from a GGUF file
	own       map[string]string // what the folder calls the tensors
	release   func()
	close     func() error
}

// Tensor is one of a model's, with rows that lie in the mapped file.
type Tensor struct {
	Name   string
	Format block.Format // of Row
	Shape  []int        // outermost dimension first
	// Row gives the stored bytes of one row of the last dimension, counted over
	// all others.
	Row func(i int) []byte
	// Offset is added to each number: some models store the weights of norms
	// without the 1 that GGUF files have in them.
	Offset float32

	data []byte // of all rows, where they lie one after the other
	// order gives the row of the source that is row i here; nil: the same.
	order func(i int) int
	// columns and rows multiply the numbers of each column and row; nil: 1.
	columns, rows []float32
}

// plain reports whether Row has the very numbers.
func (t *Tensor) plain() bool { return t.Offset == 0 && t.columns == nil && t.rows == nil }

// Cols is the length of a row.
func (t *Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// Rows is the number of rows.
func (t *Tensor) Rows() int { return tensor.Count(t.Shape) / max(t.Cols(), 1) }

// Elems is the number of elements.
func (t *Tensor) Elems() int { return tensor.Count(t.Shape) }

// Bytes is what the tensor takes as it is stored.
func (t *Tensor) Bytes() int64 { return bytesAs(t, t.Format) }

// bytesAs is what a tensor takes in a format, 0 if its rows cannot have it.
func bytesAs(t *Tensor, f block.Format) int64 {
	n, err := f.RowBytes(t.Cols())
	if err != nil {
		return 0
	}
	return int64(n) * int64(t.Rows())
}

// Decode writes row i as numbers to dst, which has Cols elements.
func (t *Tensor) Decode(dst []float32, i int) {
	block.Decode(t.Format, dst, t.Row(i))
	if t.Offset != 0 {
		for j := range dst {
			dst[j] += t.Offset
		}
	}
	for j, s := range t.columns {
		dst[j] *= s
	}
	if t.rows != nil {
		for j := range dst {
			dst[j] *= t.rows[i]
		}
	}
}

// isFloat reports whether a format holds plain numbers, which were not rounded
// to blocks before.
func isFloat(f block.Format) bool { return f == block.F32 || f == block.F16 || f == block.BF16 }

// Open maps a GGUF file or a folder of transformers.
func Open(path string) (*Model, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return openFolder(path)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	m := &Model{Path: path, Pairs: slices.DeleteFunc(f.Pairs(), isSplit), release: f.Release, close: f.Close}
	for i := range f.Tensors {
		t, err := fromGGUF(&f.Tensors[i])
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
		m.Tensors = append(m.Tensors, t)
	}
	return m, nil
}

// isSplit tells the keys that only shards have.
func isSplit(p gguf.Pair) bool {
	return p.Key == "split.no" || p.Key == "split.count" || p.Key == "split.tensors.count"
}

func fromGGUF(t *gguf.Tensor) (Tensor, error) {
	out := Tensor{Name: t.Name, Format: t.Format, Shape: t.Shape, data: t.Data}
	size, err := t.Format.RowBytes(out.Cols())
	if err != nil {
		return out, fmt.Errorf("tensor %q: %w", t.Name, err)
	}
	out.Row = func(i int) []byte { return t.Data[i*size : (i+1)*size] }
	return out, nil
}

// Close unmaps the files.
func (m *Model) Close() error { return m.close() }

// value gives the metadata of a key, nil if there are none.
func (m *Model) value(key string) any {
	for _, p := range m.Pairs {
		if p.Key == key {
			return p.Value
		}
	}
	return nil
}

// set changes a pair or adds one.
func (m *Model) set(key string, v any) { m.Pairs = setPair(m.Pairs, key, v) }

func setPair(pairs []gguf.Pair, key string, v any) []gguf.Pair {
	for i := range pairs {
		if pairs[i].Key == key {
			pairs[i].Value = v
			return pairs
		}
	}
	return append(pairs, gguf.Pair{Key: key, Value: v})
}

// number gives the metadata of one of the architecture's keys as a whole number,
// the first one of a list; otherwise what is given.
func (m *Model) number(key string, otherwise int) int {
	name, _ := m.value("general.architecture").(string)
	switch v := m.value(name + "." + key).(type) {
	case uint32:
		return int(v)
	case int32:
		return int(v)
	case uint64:
		return int(min(v, 1<<31))
	case []uint32:
		if len(v) > 0 {
			return int(v[0])
		}
	case []int32:
		if len(v) > 0 {
			return int(v[0])
		}
	}
	return otherwise
}

// has reports whether there is a tensor of that name.
func (m *Model) has(name string) bool {
	return slices.ContainsFunc(m.Tensors, func(t Tensor) bool { return t.Name == name })
}
