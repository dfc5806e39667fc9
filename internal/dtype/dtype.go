// Package dtype names the element types of tensors and converts the narrow
// floating-point formats. The numbering is that of ONNX's TensorProto.DataType.
package dtype

import "fmt"

// Type is an element type.
type Type uint8

// The element types, numbered as in ONNX.
const (
	Invalid        Type = 0
	Float32        Type = 1
	Uint8          Type = 2
	Int8           Type = 3
	Uint16         Type = 4
	Int16          Type = 5
	Int32          Type = 6
	Int64          Type = 7
	String         Type = 8
	Bool           Type = 9
	Float16        Type = 10
	Float64        Type = 11
	Uint32         Type = 12
	Uint64         Type = 13
	Complex64      Type = 14
	Complex128     Type = 15
	BFloat16       Type = 16
	Float8E4M3FN   Type = 17
	Float8E4M3FNUZ Type = 18
	Float8E5M2     Type = 19
	Float8E5M2FNUZ Type = 20
	Uint4          Type = 21
	Int4           Type = 22
	Float4E2M1     Type = 23
	Float8E8M0     Type = 24
	Uint2          Type = 25
	Int2           Type = 26

	// Sequence and Optional are not element types of ONNX: they mark a value
	// that holds a list of tensors, or none or one.
	Sequence Type = 254
	Optional Type = 255
)

type info struct {
	name string
	oip  string
	bits int
}

var infos = map[Type]info{
	Float32: {"float32", "FP32", 32}, Uint8: {"uint8", "UINT8", 8}, Int8: {"int8", "INT8", 8},
	Uint16: {"uint16", "UINT16", 16}, Int16: {"int16", "INT16", 16}, Int32: {"int32", "INT32", 32},
	Int64: {"int64", "INT64", 64}, String: {"string", "BYTES", 0}, Bool: {"bool", "BOOL", 8},
	Float16: {"float16", "FP16", 16}, Float64: {"float64", "FP64", 64}, Uint32: {"uint32", "UINT32", 32},
	Uint64: {"uint64", "UINT64", 64}, Complex64: {"complex64", "", 64}, Complex128: {"complex128", "", 128},
	BFloat16: {"bfloat16", "BF16", 16}, Float8E4M3FN: {"float8e4m3fn", "", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", "", 8},
	Float8E5M2: {"float8e5m2", "", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", "", 8}, Uint4: {"uint4", "", 4}, Int4: {"int4", "", 4},
	Float4E2M1: {"float4e2m1", "", 4}, Float8E8M0: {"float8e8m0", "", 8}, Uint2: {"uint2", "", 2}, Int2: {"int2", "", 2},
	Sequence: {"sequence", "", 0}, Optional: {"optional", "", 0},
}

// table is infos as an array, for lookups on hot paths.
var table = func() (t [256]info) {
	for k, v := range infos {
		t[k] = v
	}
	return t
}()

// Valid reports whether t is a known element type.
func (t Type) Valid() bool { return table[t].name != "" }

// Bits is the size of one element in bits; 0 for strings, sequences and optionals.
func (t Type) Bits() int { return table[t].bits }

// Bytes is the number of bytes that n elements take; sub-byte types are packed.
func (t Type) Bytes(n int) int { return (n*table[t].bits + 7) / 8 }

// String is the ONNX name in lower case, e.g. "float32".
func (t Type) String() string {
	if s := table[t].name; s != "" {
		return s
	}
	return fmt.Sprintf("dtype(%d)", uint8(t))
}

// OIP is the Open Inference Protocol's name, e.g. "FP32"; empty if the protocol has none.
func (t Type) OIP() string { return table[t].oip }

// Parse is the inverse of String; Invalid for an unknown name.
func Parse(s string) Type {
	for t, i := range infos {
		if s != "" && i.name == s {
			return t
		}
	}
	return Invalid
}

// IsFloat reports whether t is a real floating-point type.
func (t Type) IsFloat() bool {
	switch t {
	case Float32, Float64, Float16, BFloat16, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float4E2M1, Float8E8M0:
		return true
	}
	return false
}

// IsInt reports whether t is an integer type (Bool is not).
func (t Type) IsInt() bool { return t.IsSigned() || t.IsUnsigned() }

// IsSigned reports whether t is a signed integer type.
func (t Type) IsSigned() bool {
	switch t {
	case Int8, Int16, Int32, Int64, Int4, Int2:
		return true
	}
	return false
}

// IsUnsigned reports whether t is an unsigned integer type.
func (t Type) IsUnsigned() bool {
	switch t {
	case Uint8, Uint16, Uint32, Uint64, Uint4, Uint2:
		return true
	}
	return false
}
