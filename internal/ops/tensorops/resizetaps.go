package tensorops

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/tensor"
)

// axisTaps is the interpolation along one axis: output i is the sum over n taps
// of weight × the input at index. For nearest there is one tap of weight 1.
type axisTaps struct {
	n       int
	index   []int     // n for each output, inside the input
	weight  []float64 // n for each output
	outside []bool    // outputs that show nothing of the input: extrapolation
}

// taps computes those of every axis; nil for axes that stay as they are.
func (r *resizing) taps() ([]*axisTaps, error) {
	out := make([]*axisTaps, len(r.axes))
	for i, a := range r.axes {
		if a.in == a.out && a.scale == 1 && a.start == 0 && a.end == 1 {
			continue
		}
		t, err := r.axisTaps(a)
		if err != nil {
			return nil, err
		}
		out[i] = t
	}
	return out, nil
}

func (r *resizing) axisTaps(a axisSize) (*axisTaps, error) {
	first, weights, err := r.kernel(a.scale)
	if err != nil {
		return nil, err
	}
	t := &axisTaps{outside: make([]bool, a.out)}
	for i := range a.out {
		x, err := r.source(float64(i), a)
		if err != nil {
			return nil, err
		}
		t.outside[i] = r.coord == "tf_crop_and_resize" && (x < 0 || x > float64(a.in-1))
		if r.mode == "nearest" {
			k, err := r.round(x, a.scale)
			if err != nil {
				return nil, err
			}
			t.n, t.index, t.weight = 1, append(t.index, clampIndex(k, a.in)), append(t.weight, 1)
			continue
		}
		base := int(math.Ceil(x)) - 1 // the left neighbour: x is in (base, base+1]
		w := weights(x - float64(base))
		t.n = len(w)
		if r.exclude {
			excludeOutside(w, base+first, a.in)
		}
		for k, v := range w {
			t.index, t.weight = append(t.index, clampIndex(base+first+k, a.in)), append(t.weight, v)
		}
	}
	return t, nil
}

func clampIndex(i, n int) int { return min(max(i, 0), n-1) }

// excludeOutside drops the taps beyond the input and scales the rest to sum 1.
func excludeOutside(w []float64, first, n int) {
	sum := 0.
	for k := range w {
		if first+k < 0 || first+k >= n {
			w[k] = 0
		}
		sum += w[k]
	}
	if sum != 0 {
		for k := range w {
			w[k] /= sum
		}
	}
}

// source maps an output coordinate to the input. A single output is told by its whole
// number: float32 has no 0.2 whose fivefold is 1.
func (r *resizing) source(x float64, a axisSize) (float64, error) {
	in, out := float64(a.in), a.scale*float64(a.in)
	switch r.coord {
	case "asymmetric":
		return x / a.scale, nil
	case "half_pixel":
		return (x+0.5)/a.scale - 0.5, nil
	case "pytorch_half_pixel":
		if a.out == 1 {
			return 0, nil
		}
		return (x+0.5)/a.scale - 0.5, nil
	case "half_pixel_symmetric":
		offset := in / 2 * (1 - float64(a.out)/out)
		return offset + (x+0.5)/a.scale - 0.5, nil
	case "tf_half_pixel_for_nn":
		return (x + 0.5) / a.scale, nil
	case "align_corners":
		if out == 1 {
			return 0, nil
		}
		return x * (in - 1) / (out - 1), nil
	case "tf_crop_and_resize":
		if a.out == 1 {
			return (a.start + a.end) * (in - 1) / 2, nil
		}
		return a.start*(in-1) + x*(a.end-a.start)*(in-1)/(out-1), nil
	}
	return 0, fmt.Errorf("coordinate_transformation_mode %q is not known", r.coord)
}

func (r *resizing) round(x, scale float64) (int, error) {
	switch r.nearest {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5)), nil
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5)), nil
	case "floor":
		return int(math.Floor(x)), nil
	case "ceil":
		return int(math.Ceil(x)), nil
	case "simple":
		if scale < 1 {
			return int(math.Ceil(x)), nil
		}
		return int(math.Floor(x)), nil
	}
	return 0, fmt.Errorf("nearest_mode: expected round_prefer_floor, round_prefer_ceil, floor or ceil, found %q", r.nearest)
}

// kernel gives the weights as a function of the distance from the left
// neighbour, in (0, 1], and the first tap relative to that neighbour.
func (r *resizing) kernel(scale float64) (first int, weights func(ratio float64) []float64, err error) {
	radius, filter := 1., triangle
	switch r.mode {
	case "nearest":
		return 0, nil, nil
	case "linear":
	case "cubic":
		radius, filter = 2, func(x float64) float64 { return keys(x, r.cubicA) }
	default:
		return 0, nil, fmt.Errorf("mode: expected nearest, linear or cubic, found %q", r.mode)
	}
	if !r.antialias || scale > 1 {
		scale = 1
	}
	first = int(math.Floor(-radius/scale)) + 1
	n := 2 - 2*first
	return first, func(ratio float64) []float64 {
		w := make([]float64, n)
		sum := 0.
		for i := range w {
			w[i] = filter((float64(first+i) - ratio) * scale)
			sum += w[i]
		}
		if r.antialias {
			for i := range w {
				w[i] /= sum
			}
		}
		return w
	}, nil
}

func triangle(x float64) float64 { return max(1-math.Abs(x), 0) }

// keys is the cubic convolution kernel of R. G. Keys (1981) with parameter a.
func keys(x, a float64) float64 {
	x = math.Abs(x)
	switch {
	case x <= 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return ((a*x-5*a)*x+8*a)*x - 4*a
	}
	return 0
}

// apply interpolates v, of shape dims, along axis.
func (t *axisTaps) apply(v []float64, dims []int, axis int, extrapolation float64) []float64 {
	outer, n, inner := tensor.Count(dims[:axis]), dims[axis], tensor.Count(dims[axis+1:])
	m := len(t.outside)
	out := make([]float64, outer*m*inner)
	for o := range outer {
		for i := range m {
			row := out[(o*m+i)*inner : (o*m+i+1)*inner]
			if t.outside[i] {
				copy(row, slices.Repeat([]float64{extrapolation}, inner))
				continue
			}
			for k := range t.n {
				w, from := t.weight[i*t.n+k], (o*n+t.index[i*t.n+k])*inner
				for j := range row {
					row[j] += w * v[from+j]
				}
			}
		}
	}
	return out
}
