package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

var bytes8 = []dtype.Type{dtype.Uint8, dtype.Int8}

// scaleOf reads one scale and zero point.
func scaleOf(scale, zero *tensor.Tensor) (s, z float32, err error) {
	if scale == nil || scale.Len() != 1 || zero != nil && zero.Len() != 1 {
		return 0, 0, fmt.Errorf("scale is %s and zero point %s, expected one number each", scale, zero)
	}
	if zero != nil {
		z = float32(num.Floats(zero)[0])
	}
	return num.Float32s(scale)[0], z, nil
}

// dequantized gives x as float32.
func dequantized(x, scale, zero *tensor.Tensor) (*tensor.Tensor, error) {
	s, z, err := scaleOf(scale, zero)
	if err != nil {
		return nil, err
	}
	y := tensor.New(dtype.Float32, x.Shape...)
	v := tensor.Of[float32](y)
	for i, q := range num.Int64s(x) {
		v[i] = float32(float32(q)-z) * s
	}
	return y, nil
}

// quantize writes float numbers to output 0 as bytes.
func quantize(c *op.Call, y []float32, dt dtype.Type, dims []int, scale, zero *tensor.Tensor) error {
	s, z, err := scaleOf(scale, zero)
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	out := make([]float64, len(y))
	for i, x := range y {
		out[i] = saturated(math.RoundToEven(float64(x/s))+float64(z), dt)
	}
	num.SetFloats(c.Output(0, dt, dims...), out)
	return nil
}

// saturated clamps to the range of an 8-bit type; NaN becomes the least.
func saturated(x float64, dt dtype.Type) float64 {
	lo, hi := 0., 255.
	if dt == dtype.Int8 {
		lo, hi = -128, 127
	}
	if math.IsNaN(x) {
		return lo
	}
	return min(max(x, lo), hi)
}

// viaFloats runs a standard operator between dequantization and quantization:
// scales holds the tensors of input and output scale and zero point.
func viaFloats(c *op.Call, s *standard, scales [4]*tensor.Tensor, last bool) error {
	x, err := dequantized(c.In[0], scales[0], scales[1])
	if err != nil {
		return fmt.Errorf("input: %w", err)
	}
	if last {
		if len(x.Shape) < 2 {
			return fmt.Errorf("input is %s, expected batch, positions and channels", x)
		}
		x = transposed(x, channelsFirst(len(x.Shape)))
	}
	y, err := s.run(c, x)
	if err != nil {
		return err
	}
	if last {
		y = transposed(y, channelsLast(len(y.Shape)))
	}
	return quantize(c, tensor.Of[float32](y), c.In[0].DType, y.Shape, scales[2], scales[3])
}

// bytesWave makes numbers over the whole range of a type.
func bytesWave[T uint8 | int8](dims ...int) *tensor.Tensor {
	v := make([]T, tensor.Count(dims))
	for i := range v {
		v[i] = T(i*i*7 + i*31 + 5)
	}
	return tensor.FromSlice(v, dims...)
}

func scalar32(v float32) *tensor.Tensor { return tensor.Scalar(v) }
