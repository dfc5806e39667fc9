package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"

	"github.com/salver-ml/salver/internal/dtype/block"
)

// Pair is a key of the metadata with its value, of a type that File.Metadata has.
type Pair struct {
	Key   string
	Value any
}

// Source is a tensor to be written.
type Source struct {
	Name   string
	Format block.Format
	Shape  []int // outermost dimension first
	// WriteTo writes the data, as many bytes as Format and Shape say. It is
	// called once, in the order of the tensors.
	WriteTo func(io.Writer) error
}

// Source is t as something to write.
func (t *Tensor) Source() Source {
	return Source{t.Name, t.Format, t.Shape, func(w io.Writer) error {
		_, err := w.Write(t.Data)
		return err
	}}
}

// Write writes a file of version 3, pairs and tensors in the given order. Equal
// arguments give equal bytes. Tensors begin at multiples of general.alignment,
// or of 32 if the metadata have none. What was written before an error is no
// valid file.
func Write(w io.Writer, metadata []Pair, tensors []Source) error {
	e := &writer{w: bufio.NewWriterSize(w, 1<<20), alignment: defaultAlignment}
	if err := errors.Join(e.checkPairs(metadata), e.checkSources(tensors)); err != nil {
		return err
	}
	e.put([]byte(magic))
	e.put(uint32(3))
	e.put(uint64(len(tensors)))
	e.put(uint64(len(metadata)))
	for _, p := range metadata {
		e.put(p.Key)
		e.value(p.Value)
	}
	e.infos(tensors)
	for i, t := range tensors {
		e.pad()
		e.data(t, e.sizes[i])
	}
	e.pad()
	if e.err != nil {
		return e.err
	}
	return e.w.Flush()
}

// writer counts what it writes. After the first error it writes nothing.
type writer struct {
	w         *bufio.Writer
	n         int64
	err       error
	alignment int
	sizes     []int // of the tensors in bytes
}

func (e *writer) checkPairs(metadata []Pair) error {
	f := &File{Metadata: map[string]any{}, alignment: defaultAlignment}
	for _, p := range metadata {
		if err := checkName("a key", p.Key); err != nil {
			return err
		}
		if _, ok := f.Metadata[p.Key]; ok {
			return fmt.Errorf("key %q occurs twice", p.Key)
		}
		if _, _, err := kindOf(p.Value); err != nil {
			return fmt.Errorf("key %q: %w", p.Key, err)
		}
		f.Metadata[p.Key] = p.Value
	}
	err := f.setAlignment()
	e.alignment = f.alignment
	return err
}

func (e *writer) checkSources(tensors []Source) error {
	seen := map[string]bool{}
	for _, t := range tensors {
		if err := checkName("the name of a tensor", t.Name); err != nil {
			return err
		}
		if seen[t.Name] {
			return fmt.Errorf("tensor %q occurs twice", t.Name)
		}
		seen[t.Name] = true
		n, err := sizeOf(t.Format, t.Shape)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		e.sizes = append(e.sizes, n)
	}
	return nil
}

// kindOf is the type of a metadata value, of its elements if it is an array.
func kindOf(v any) (k kind, array bool, err error) {
	t := reflect.TypeOf(v)
	if t != nil && t.Kind() == reflect.Slice {
		t, array = t.Elem(), true
	}
	for k := range kinds {
		if t != nil && kinds[k].name == t.String() {
			return kind(k), array, nil
		}
	}
	return 0, false, fmt.Errorf("a value of type %T cannot be written: expected a number with its size (such as uint32), a bool, a string, or a slice of these", v)
}

func (e *writer) value(v any) {
	k, array, err := kindOf(v)
	if err != nil {
		e.fail(err)
		return
	}
	if array {
		e.put(uint32(kindArray))
		e.put(uint32(k))
		e.put(uint64(reflect.ValueOf(v).Len()))
	} else {
		e.put(uint32(k))
	}
	if list, ok := v.([]string); ok {
		for _, s := range list {
			e.put(s)
		}
		return
	}
	e.put(v)
}

func (e *writer) infos(tensors []Source) {
	offset := 0
	for i, t := range tensors {
		if e.err != nil {
			return
		}
		e.put(t.Name)
		e.put(uint32(len(t.Shape)))
		for _, d := range slices.Backward(t.Shape) {
			e.put(uint64(d))
		}
		e.put(uint32(t.Format))
		e.put(uint64(offset))
		padded := -e.sizes[i]&(e.alignment-1) + e.sizes[i]
		if padded < 0 || offset > math.MaxInt-padded {
			e.fail(fmt.Errorf("tensor %q: the tensors have more bytes than this system can address", t.Name))
		}
		offset += padded
	}
}

// data has t write its bytes, and checks their number.
func (e *writer) data(t Source, want int) {
	if e.err != nil {
		return
	}
	from := e.n
	if err := t.WriteTo(e); err != nil {
		e.fail(fmt.Errorf("tensor %q: %w", t.Name, err))
	}
	if n := e.n - from; n != int64(want) {
		e.fail(fmt.Errorf("tensor %q wrote %d bytes, expected %d (%v, shape %v)", t.Name, n, want, t.Format, t.Shape))
	}
}

func (e *writer) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// put writes a value of fixed size, or a string with its length in front.
func (e *writer) put(v any) {
	if s, ok := v.(string); ok {
		e.put(uint64(len(s)))
		v = []byte(s)
	}
	if e.err == nil {
		e.fail(binary.Write(e, le, v))
	}
}

// Write is io.Writer, for the tensors.
func (e *writer) Write(b []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(b)
	e.n += int64(n)
	e.fail(err)
	return n, err
}

// pad writes zeros up to the alignment.
func (e *writer) pad() {
	if n := int(-e.n & int64(e.alignment-1)); n > 0 {
		e.put(make([]byte, n))
	}
}
