package salver

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Tensor is a dense, row-major array. Its DType, Shape and Data (little-endian
// bytes; Strings for string tensors) may be read and set directly.
type Tensor = tensor.Tensor

// DType is an element type.
type DType = dtype.Type

// The element types that have a Go type of their own, and the 16-bit floats.
const (
	Float32  = dtype.Float32
	Float64  = dtype.Float64
	Float16  = dtype.Float16
	BFloat16 = dtype.BFloat16
	Int8     = dtype.Int8
	Int16    = dtype.Int16
	Int32    = dtype.Int32
	Int64    = dtype.Int64
	Uint8    = dtype.Uint8
	Uint16   = dtype.Uint16
	Uint32   = dtype.Uint32
	Uint64   = dtype.Uint64
	Bool     = dtype.Bool
	String   = dtype.String
)

// Element lists the Go types of tensor elements.
type Element = tensor.Element

// NewTensor makes a zeroed tensor.
func NewTensor(t DType, shape ...int) *Tensor { return tensor.New(t, shape...) }

// FromSlice makes a tensor that shares data. Without a shape it is a vector; a
// shape with another number of elements than data panics.
func FromSlice[T Element](data []T, shape ...int) *Tensor { return tensor.FromSlice(data, shape...) }

// FromStrings makes a string tensor that shares data.
func FromStrings(data []string, shape ...int) *Tensor { return tensor.FromStrings(data, shape...) }

// Data views a tensor's elements without a copy. T must be as wide as the
// tensor's element type.
func Data[T Element](t *Tensor) []T { return tensor.Of[T](t) }
