// Package tensor holds dense, row-major, little-endian tensors in host memory.
package tensor

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
)

// Align is the alignment in bytes of buffers made by this package: a cache
// line, and the widest vector register.
const Align = 64

// Tensor is a dense array. Data has DType.Bytes(Len()) bytes, row-major;
// sub-byte types are packed, low bits first. Strings replaces Data where DType
// is String; Items where it is Sequence (any number) or Optional (none or one).
type Tensor struct {
	DType   dtype.Type
	Shape   []int
	Data    []byte
	Strings []string
	Items   []*Tensor
}

// Element lists the Go types that have a one-to-one element type.
type Element interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~bool | ~complex64 | ~complex128
}

// New makes a zeroed tensor whose data is aligned to Align bytes.
func New(dt dtype.Type, shape ...int) *Tensor {
	t := &Tensor{DType: dt, Shape: slices.Clone(shape)}
	if t.Shape == nil {
		t.Shape = []int{}
	}
	switch dt {
	case dtype.String:
		t.Strings = make([]string, Count(shape))
	case dtype.Sequence, dtype.Optional:
	default:
		t.Data = Bytes(dt.Bytes(Count(shape)))
	}
	return t
}

// Bytes makes a zeroed buffer of n bytes aligned to Align.
func Bytes(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	b := make([]byte, n+Align-1)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Align - 1))
	return b[off : off+n : off+n]
}

// Count is the number of elements of a shape.
//
//go:noinline
func Count(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Len is the number of elements.
func (t *Tensor) Len() int { return Count(t.Shape) }

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return len(t.Shape) }

// FromSlice makes a tensor that aliases data. Without a shape it is a vector.
func FromSlice[T Element](data []T, shape ...int) *Tensor {
	if shape == nil {
		shape = []int{len(data)}
	}
	if Count(shape) != len(data) {
		panic(fmt.Sprintf("tensor: shape %v needs %d elements, got %d", shape, Count(shape), len(data)))
	}
	return &Tensor{DType: TypeOf[T](), Shape: slices.Clone(shape), Data: AsBytes(data)}
}

// Scalar makes a tensor of rank 0.
func Scalar[T Element](v T) *Tensor {
	return &Tensor{DType: TypeOf[T](), Shape: []int{}, Data: AsBytes([]T{v})}
}

// FromStrings makes a string tensor that aliases data.
func FromStrings(data []string, shape ...int) *Tensor {
	if shape == nil {
		shape = []int{len(data)}
	}
	return &Tensor{DType: dtype.String, Shape: slices.Clone(shape), Strings: data}
}

// Of views t's data as []T without a copy. The size of T must be that of the
// element type (uint16 serves for Float16 and BFloat16, uint8 for packed and 8-bit types).
//
//go:noinline
func Of[T Element](t *Tensor) []T { return View[T](t.Data) }

// View views bytes as []T without a copy. They must begin where a T may; what
// is left behind the last whole T is not part of the view.
func View[T Element](b []byte) []T {
	var z T
	n := len(b) / int(unsafe.Sizeof(z))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// AsBytes views a slice's memory as bytes.
func AsBytes[T Element](s []T) []byte {
	var z T
	if len(s) == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(z)))
}

// TypeOf is the element type that corresponds to T.
func TypeOf[T Element]() dtype.Type {
	var z T
	switch any(z).(type) {
	case float32:
		return dtype.Float32
	case float64:
		return dtype.Float64
	case int8:
		return dtype.Int8
	case int16:
		return dtype.Int16
	case int32:
		return dtype.Int32
	case int64:
		return dtype.Int64
	case uint8:
		return dtype.Uint8
	case uint16:
		return dtype.Uint16
	case uint32:
		return dtype.Uint32
	case uint64:
		return dtype.Uint64
	case bool:
		return dtype.Bool
	case complex64:
		return dtype.Complex64
	case complex128:
		return dtype.Complex128
	}
	return dtype.Invalid
}

// Clone copies t and what it holds.
func (t *Tensor) Clone() *Tensor {
	c := &Tensor{DType: t.DType, Shape: slices.Clone(t.Shape), Strings: slices.Clone(t.Strings)}
	if t.Data != nil {
		c.Data = Bytes(len(t.Data))
		copy(c.Data, t.Data)
	}
	for _, i := range t.Items {
		c.Items = append(c.Items, i.Clone())
	}
	return c
}

// Reshape views t's elements under another shape with the same count.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	r := *t
	r.Shape = slices.Clone(shape)
	if r.Shape == nil {
		r.Shape = []int{}
	}
	return &r
}

// Ints reads an integer tensor (int32 or int64) as []int; used for axes, shapes and the like.
func (t *Tensor) Ints() ([]int, error) {
	switch t.DType {
	case dtype.Int64:
		return toInts(Of[int64](t)), nil
	case dtype.Int32:
		return toInts(Of[int32](t)), nil
	}
	return nil, fmt.Errorf("expected an int64 or int32 tensor, found %s", t)
}

func toInts[T int32 | int64](s []T) []int {
	r := make([]int, len(s))
	for i, v := range s {
		r[i] = int(v)
	}
	return r
}

// String gives type and shape, e.g. "float32[1,3,224,224]".
func (t *Tensor) String() string {
	if t == nil {
		return "nothing"
	}
	s := t.DType.String() + "["
	for i, d := range t.Shape {
		if i > 0 {
			s += ","
		}
		s += fmt.Sprint(d)
	}
	return s + "]"
}

// Strides are the row-major strides of a shape in elements.
//
//go:noinline
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}
