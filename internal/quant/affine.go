package quant

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
)

// Range is what a tensor's values lie in, as seen or as assumed.
type Range struct {
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// Affine maps reals to integers: q = clamp(round(x/Scale) + Zero, lowest, highest),
// rounding halves to even as ONNX's QuantizeLinear does.
type Affine struct {
	Type  dtype.Type // Int8, Uint8, Int16, Uint16, Int4 or Uint4
	Scale float32
	Zero  int32
}

// Limits are the lowest and highest integer of a type that Affine can have.
func Limits(t dtype.Type) (lowest, highest int32, err error) {
	switch t {
	case dtype.Int8:
		return -128, 127, nil
	case dtype.Uint8:
		return 0, 255, nil
	case dtype.Int16:
		return -32768, 32767, nil
	case dtype.Uint16:
		return 0, 65535, nil
	case dtype.Int4:
		return -8, 7, nil
	case dtype.Uint4:
		return 0, 15, nil
	}
	return 0, 0, fmt.Errorf("cannot quantize to %s: expected int8, uint8, int16, uint16, int4 or uint4", t)
}

// Fit gives the mapping of a range onto all integers of a type. The range is
// widened to hold zero, which every mapping represents exactly: padding and
// ReLU need that. A symmetric mapping has its zero point in the middle (0 for
// signed types) and leaves the lowest signed integer unused, so that it negates
// without overflow. A range of no width has scale 1.
func Fit(r Range, t dtype.Type, symmetric bool) (Affine, error) {
	lowest, highest, err := Limits(t)
	if err != nil {
		return Affine{}, err
	}
	if math.IsNaN(r.Min) || math.IsNaN(r.Max) || math.IsInf(r.Min, 0) || math.IsInf(r.Max, 0) || r.Min > r.Max {
		return Affine{}, fmt.Errorf("cannot quantize the range from %g to %g: expected finite numbers in order", r.Min, r.Max)
	}
	lo, hi := math.Min(r.Min, 0), math.Max(r.Max, 0)
	if symmetric {
		zero := (lowest + highest + 1) / 2
		scale := scaleOf(math.Max(-lo, hi), float64(highest-zero))
		return Affine{t, scale, zero}, nil
	}
	scale := scaleOf(hi-lo, float64(highest)-float64(lowest))
	zero := math.RoundToEven(float64(lowest) - lo/float64(scale))
	return Affine{t, scale, int32(min(max(zero, float64(lowest)), float64(highest)))}, nil
}

// scaleOf is width/steps as a float32 that is neither zero nor denormal.
func scaleOf(width, steps float64) float32 {
	const smallest = 0x1p-126
	if s := float32(width / steps); s >= smallest {
		return s
	}
	if width == 0 {
		return 1
	}
	return smallest
}

// Quantize maps a number; NaN becomes Zero.
func (a Affine) Quantize(x float32) int32 {
	lowest, highest, err := Limits(a.Type)
	if err != nil || x != x {
		return a.Zero
	}
	q := math.RoundToEven(float64(x/a.Scale)) + float64(a.Zero)
	return int32(min(max(q, float64(lowest)), float64(highest)))
}

// Dequantize gives the number that an integer stands for.
func (a Affine) Dequantize(q int32) float32 { return float32(q-a.Zero) * a.Scale }

// Round is Dequantize(Quantize(x)): what is left of a number.
func (a Affine) Round(x float32) float32 { return a.Dequantize(a.Quantize(x)) }
