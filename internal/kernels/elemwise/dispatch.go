package elemwise

import (
	"maps"

	"github.com/salver-ml/salver/internal/cpu"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	unary     [numOps]Func
	binary    [numBinary]func(dst, a, b []float32, sa, sb int)
	f16, bf16 codec
	casts     map[castPair]castFunc

	quantU8   func(dst []uint8, src []float32, scale, zero float32)
	quantS8   func(dst []int8, src []float32, scale, zero float32)
	dequantU8 func(dst []float32, src []uint8, scale float32, zero int32)
	dequantS8 func(dst []float32, src []int8, scale float32, zero int32)
	minMax    func(x []float32) (lo, hi float32)
	lookup    lookup

	typed
}

// portable is the specification of the other kernels.
var portable = makePortable()

func current() *kernels { return forLevel(cpu.Level()) }

func makePortable() *kernels {
	t := &kernels{
		unary: portableUnary(), f16: portableF16, bf16: portableBF16,
		quantU8: quantizeRow[uint8], quantS8: quantizeRow[int8],
		dequantU8: dequantizeRow[uint8], dequantS8: dequantizeRow[int8],
		minMax: minMaxRow, casts: portableCasts(), lookup: portableLookup,
	}
	t.narrowCasts()
	for op := range numBinary {
		t.binary[op] = floatLoop[float32](op)
	}
	return t
}

// above copies t, for the next level to replace what it has.
func (t *kernels) above() *kernels {
	c := *t
	c.casts = maps.Clone(t.casts)
	return &c
}
