//go:build !noasm

package elemwise

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
)

//go:generate go -C ../../../tools/asmgen run . elemwise -out ../../internal/kernels/elemwise/elemwise_amd64.s
//go:generate go -C ../../../tools/asmgen run . elemwise_table -out ../../internal/kernels/elemwise/table_amd64.s

func forLevel(l cpu.Target) *kernels {
	switch {
	case l >= cpu.AVX512 && cpu.Has().VBMI:
		return vbmi
	case l >= cpu.AVX512:
		return avx512
	case l >= cpu.AVX2:
		return avx2
	}
	return portable
}

// Levels have portable code where they have nothing of their own; vbmi is avx512 but for tables of bytes.
var vbmi, avx512, avx2 = new(kernels), portable.above(), portable.above()

type (
	asmUnary  = func(dst, src []float32, a, b, c float32)
	asmBinary = func(dst, a, b []float32)
)

func init() {
	avx2.typed, avx2.lookup = typedAVX2(), lookupAVX2
	avx2.setUnary(map[Op]asmUnary{
		Abs: absAVX2, Neg: negAVX2, Sign: signAVX2, Floor: floorAVX2, Ceil: ceilAVX2, Round: roundAVX2, Sqrt: sqrtAVX2,
		Reciprocal: reciprocalAVX2, Square: squareAVX2, Exp: expAVX2, Log: logAVX2, Sin: sinAVX2, Cos: cosAVX2, Tanh: tanhAVX2,
		Tan: tanAVX2, Asin: asinAVX2, Acos: acosAVX2, Atan: atanAVX2, Sinh: sinhAVX2, Cosh: coshAVX2, Asinh: asinhAVX2, Acosh: acoshAVX2, Atanh: atanhAVX2, Shrink: shrinkAVX2,
		Sigmoid: sigmoidAVX2, Erf: erfAVX2, Gelu: geluAVX2, GeluTanh: geluTanhAVX2, Silu: siluAVX2, HardSigmoid: hardSigmoidAVX2,
		HardSwish: hardSwishAVX2, Mish: mishAVX2, Softplus: softplusAVX2, Softsign: softsignAVX2, Elu: eluAVX2,
		LeakyRelu: leakyReluAVX2, ThresholdedRelu: thresholdedReluAVX2, Relu: reluAVX2, Clip: clipAVX2, Affine: affineAVX2,
	})
	avx2.setBinary(map[Binary][3]asmBinary{
		Add: {addRRAVX2, addRVAVX2, addVRAVX2}, Sub: {subRRAVX2, subRVAVX2, subVRAVX2}, Mul: {mulRRAVX2, mulRVAVX2, mulVRAVX2},
		Div: {divRRAVX2, divRVAVX2, divVRAVX2}, Min: {minRRAVX2, minRVAVX2, minVRAVX2}, Max: {maxRRAVX2, maxRVAVX2, maxVRAVX2},
		PRelu: {preluRRAVX2, preluRVAVX2, preluVRAVX2},
	})
	avx2.setRows(8, asmRows{
		widenF16AVX2, widenBF16AVX2, narrowF16AVX2, narrowBF16AVX2, quantizeRows(quantU8AVX2), quantizeRows(quantS8AVX2),
		dequantU8AVX2, dequantS8AVX2, minMaxAVX2,
	})
	avx2.setCasts(map[castPair]castFunc{
		{dtype.Int8, dtype.Int32}: castWhole(8, int32FromInt8AVX2, direct[int32, int8]), {dtype.Int32, dtype.Int8}: castWhole(8, int8FromInt32AVX2, direct[int8, int32]),
		{dtype.Int16, dtype.Int32}: castWhole(8, int32FromInt16AVX2, direct[int32, int16]), {dtype.Int32, dtype.Int16}: castWhole(8, int16FromInt32AVX2, direct[int16, int32]),
		{dtype.Uint8, dtype.Int32}: castWhole(8, int32FromUint8AVX2, direct[int32, uint8]), {dtype.Uint16, dtype.Int32}: castWhole(8, int32FromUint16AVX2, direct[int32, uint16]),
		{dtype.Int64, dtype.Int32}: castWhole(8, int32FromInt64AVX2, direct[int32, int64]), {dtype.Int32, dtype.Int64}: castWhole(8, int64FromInt32AVX2, direct[int64, int32]),
		{dtype.Int32, dtype.Float32}: castWhole(8, float32FromInt32AVX2, direct[float32, int32]), {dtype.Float32, dtype.Int32}: castWhole(8, int32FromFloat32AVX2, truncated[int32, float32]),
		{dtype.Int32, dtype.Float64}: castWhole(8, float64FromInt32AVX2, direct[float64, int32]), {dtype.Float64, dtype.Int32}: castWhole(8, int32FromFloat64AVX2, truncated[int32, float64]),
		{dtype.Float32, dtype.Float64}: castWhole(8, float64FromFloat32AVX2, direct[float64, float32]), {dtype.Float64, dtype.Float32}: castWhole(8, float32FromFloat64AVX2, direct[float32, float64]),
		{dtype.Uint8, dtype.Float32}: castWhole(8, float32FromUint8AVX2, direct[float32, uint8]), {dtype.Bool, dtype.Float32}: castWhole(8, float32FromBoolAVX2, fromTruth),
	})

	avx512.typed, avx512.lookup = typedAVX512(), lookupAVX2
	avx512.setUnary(map[Op]asmUnary{
		Abs: absAVX512, Neg: negAVX512, Sign: signAVX512, Floor: floorAVX512, Ceil: ceilAVX512, Round: roundAVX512, Sqrt: sqrtAVX512,
		Reciprocal: reciprocalAVX512, Square: squareAVX512, Exp: expAVX512, Log: logAVX512, Sin: sinAVX512, Cos: cosAVX512, Tanh: tanhAVX512,
		Tan: tanAVX512, Asin: asinAVX512, Acos: acosAVX512, Atan: atanAVX512, Sinh: sinhAVX512, Cosh: coshAVX512, Asinh: asinhAVX512, Acosh: acoshAVX512, Atanh: atanhAVX512, Shrink: shrinkAVX512,
		Sigmoid: sigmoidAVX512, Erf: erfAVX512, Gelu: geluAVX512, GeluTanh: geluTanhAVX512, Silu: siluAVX512, HardSigmoid: hardSigmoidAVX512,
		HardSwish: hardSwishAVX512, Mish: mishAVX512, Softplus: softplusAVX512, Softsign: softsignAVX512, Elu: eluAVX512,
		LeakyRelu: leakyReluAVX512, ThresholdedRelu: thresholdedReluAVX512, Relu: reluAVX512, Clip: clipAVX512, Affine: affineAVX512,
	})
	avx512.setBinary(map[Binary][3]asmBinary{
		Add: {addRRAVX512, addRVAVX512, addVRAVX512}, Sub: {subRRAVX512, subRVAVX512, subVRAVX512}, Mul: {mulRRAVX512, mulRVAVX512, mulVRAVX512},
		Div: {divRRAVX512, divRVAVX512, divVRAVX512}, Min: {minRRAVX512, minRVAVX512, minVRAVX512}, Max: {maxRRAVX512, maxRVAVX512, maxVRAVX512},
		PRelu: {preluRRAVX512, preluRVAVX512, preluVRAVX512},
	})
	avx512.setRows(16, asmRows{
		widenF16AVX512, widenBF16AVX512, narrowF16AVX512, narrowBF16AVX512, quotientRows(quantU8AVX512), quotientRows(quantS8AVX512),
		dequantU8AVX512, dequantS8AVX512, minMaxAVX512,
	})
	avx512.setCasts(map[castPair]castFunc{
		{dtype.Int8, dtype.Int32}: castWhole(16, int32FromInt8AVX512, direct[int32, int8]), {dtype.Int32, dtype.Int8}: castWhole(16, int8FromInt32AVX512, direct[int8, int32]),
		{dtype.Int16, dtype.Int32}: castWhole(16, int32FromInt16AVX512, direct[int32, int16]), {dtype.Int32, dtype.Int16}: castWhole(16, int16FromInt32AVX512, direct[int16, int32]),
		{dtype.Uint8, dtype.Int32}: castWhole(16, int32FromUint8AVX512, direct[int32, uint8]), {dtype.Uint16, dtype.Int32}: castWhole(16, int32FromUint16AVX512, direct[int32, uint16]),
		{dtype.Int64, dtype.Int32}: castWhole(16, int32FromInt64AVX512, direct[int32, int64]), {dtype.Int32, dtype.Int64}: castWhole(16, int64FromInt32AVX512, direct[int64, int32]),
		{dtype.Int32, dtype.Float32}: castWhole(16, float32FromInt32AVX512, direct[float32, int32]), {dtype.Float32, dtype.Int32}: castWhole(16, int32FromFloat32AVX512, truncated[int32, float32]),
		{dtype.Int32, dtype.Float64}: castWhole(16, float64FromInt32AVX512, direct[float64, int32]), {dtype.Float64, dtype.Int32}: castWhole(16, int32FromFloat64AVX512, truncated[int32, float64]),
		{dtype.Float32, dtype.Float64}: castWhole(16, float64FromFloat32AVX512, direct[float64, float32]), {dtype.Float64, dtype.Float32}: castWhole(16, float32FromFloat64AVX512, direct[float32, float64]),
		{dtype.Uint8, dtype.Float32}: castWhole(16, float32FromUint8AVX512, direct[float32, uint8]), {dtype.Bool, dtype.Float32}: castWhole(16, float32FromBoolAVX512, fromTruth),
		{dtype.Int64, dtype.Float32}: castWhole(16, float32FromInt64AVX512, direct[float32, int64]), {dtype.Float32, dtype.Int64}: castWhole(16, int64FromFloat32AVX512, truncated[int64, float32]),
		{dtype.Int64, dtype.Float64}: castWhole(16, float64FromInt64AVX512, direct[float64, int64]), {dtype.Float64, dtype.Int64}: castWhole(16, int64FromFloat64AVX512, truncated[int64, float64]),
	})
	for _, op := range []Binary{Pow, Mod, Fmod} {
		avx2.binary[op], avx512.binary[op] = mended{op: op}.row, mended{op: op, wide: true}.row
	}
	*vbmi = *avx512
	vbmi.lookup = lookupVBMI
}
