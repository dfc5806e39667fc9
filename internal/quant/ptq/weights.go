package ptq

import (
	"math"

	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// weights are a tensor in 8 bits.
type weights struct {
	data  *tensor.Tensor
	maps  []quant.Affine // one, or one for each channel
	sqnr  float64        // in dB
	axis  int            // of the channels
	inner int            // elements between one channel and the next
}

// quantizeWeights rounds float32 weights, with one scale for each index of the
// axis or one for all. A scale is at least that of floor, if it is not nil: one
// number for each channel.
func quantizeWeights(w *tensor.Tensor, axis int, perChannel bool, floor []float64, o *Options) (*weights, error) {
	q := &weights{data: tensor.New(o.Weights, w.Shape...), axis: axis, inner: tensor.Count(w.Shape[axis+1:])}
	x, channels := tensor.Of[float32](w), w.Shape[axis]
	groups := 1
	if perChannel {
		groups = channels
	}
	ranges := make([]quant.Range, groups)
	for i, v := range x {
		r := &ranges[i/q.inner%channels%groups]
		r.Min, r.Max = min(r.Min, float64(v)), max(r.Max, float64(v))
	}
	q.maps = make([]quant.Affine, groups)
	for g, r := range ranges {
		m, err := quant.Fit(r, o.Weights, !o.AsymmetricWeights)
		if err != nil {
			return nil, err
		}
		if o.ReduceRange {
			m.Scale *= 2
		}
		if least := leastScale(floor, g, groups); m.Scale < least || r == (quant.Range{}) && least > 0 {
			m.Scale = least
		}
		q.maps[g] = m
	}
	signal, noise := 0.0, 0.0
	for i, v := range x {
		m := q.maps[i/q.inner%channels%groups]
		n := m.Quantize(v)
		q.data.Data[i] = byte(n)
		d := float64(m.Dequantize(n)) - float64(v)
		signal, noise = signal+float64(v)*float64(v), noise+d*d
	}
	q.sqnr = report.Decibels(signal, noise)
	return q, nil
}

// leastScale is the floor of group g: of its channel, or of all of them.
func leastScale(floor []float64, g, groups int) float32 {
	least := 0.0
	for c, f := range floor {
		if groups == 1 || c == g {
			least = max(least, f)
		}
	}
	return float32(least)
}

// biasRoom is how large the integers of a bias may be, so that products can be
// added to them in 32 bits.
const biasRoom = 1 << 30

// biasFloor gives the least scales of weights with which a bias fits into
// integers: numbers are in units of the input's scale times the weights'.
func biasFloor(bias []float32, x float32) []float64 {
	floor := make([]float64, len(bias))
	for i, b := range bias {
		floor[i] = math.Abs(float64(b)) / float64(x) / biasRoom
	}
	return floor
}

// quantizeBias gives a bias in units of the products' scales, and these.
func (w *weights) quantizeBias(bias []float32, x float32) (q []int32, scale []float32) {
	scale = make([]float32, len(w.maps))
	for i, m := range w.maps {
		scale[i] = x * m.Scale
	}
	q = make([]int32, len(bias))
	for i, b := range bias {
		s := float64(scale[i%len(scale)])
		if s == 0 {
			continue // the products are too small for float32, and so would the bias be
		}
		v := math.RoundToEven(float64(b) / s)
		q[i] = int32(min(max(v, math.MinInt32), math.MaxInt32))
	}
	return q, scale
}

func (w *weights) scales() []float32 {
	s := make([]float32, len(w.maps))
	for i, m := range w.maps {
		s[i] = m.Scale
	}
	return s
}

// zeros are the zero points as bytes of the weights' type.
func (w *weights) zeros() []byte {
	z := make([]byte, len(w.maps))
	for i, m := range w.maps {
		z[i] = byte(m.Zero)
	}
	return z
}
