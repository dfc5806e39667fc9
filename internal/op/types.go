package op

import (
	"slices"

	. "github.com/salver-ml/salver/internal/dtype" //nolint:stylecheck // a table of type names reads better bare
)

// Sets of element types that schemas use.
var (
	Floats     = []Type{Float32, Float16, Float64, BFloat16}
	Signed     = []Type{Int8, Int16, Int32, Int64}
	Unsigned   = []Type{Uint8, Uint16, Uint32, Uint64}
	IntTypes   = slices.Concat(Signed, Unsigned)
	Indices    = []Type{Int32, Int64}
	Numeric    = slices.Concat(Floats, IntTypes)
	SignedNum  = slices.Concat(Floats, Signed)
	Complex    = []Type{Complex64, Complex128}
	Float8     = []Type{Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ, Float8E8M0}
	SubByte    = []Type{Uint4, Int4, Float4E2M1, Uint2, Int2}
	Bools      = []Type{Bool}
	NumBool    = slices.Concat(Numeric, Bools)
	AllTensors = slices.Concat(Numeric, Bools, Complex, []Type{String}, Float8, SubByte)
)
