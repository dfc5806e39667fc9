package pooling

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/window"
)

// Reference pools planes (images times channels) of any number of spatial
// dimensions. Where indices isn't nil, it gets the place in its plane of each
// maximum, row-major; the first of equals. A window without a tap inside the
// input gives -Inf, or 0 as an average.
func Reference(p Params, planes int, spatial []int, x, out []float32, indices []int64) error {
	dims, err := p.Dims(spatial)
	if err != nil {
		return err
	}
	in, size := product(spatial), product(window.OutSizes(dims))
	for i := range planes {
		for j := range size {
			w := visit{dims: dims, plane: x[i*in : (i+1)*in], best: float32(math.Inf(-1)), at: -1, padded: paddedTaps(dims, j)}
			w.dim(0, 0, j, size)
			out[i*size+j] = w.result(p)
			if indices != nil {
				indices[i*size+j] = int64(w.at)
			}
		}
	}
	return nil
}

// visit gathers one window.
type visit struct {
	dims          []window.Dim
	plane         []float32
	best          float32
	at            int
	sum           float64
	count, padded int
}

// dim goes through the taps of dimension d for output j of the size positions
// that are left; at is the offset so far.
func (v *visit) dim(d, at, j, size int) {
	if d == len(v.dims) {
		v.tap(at)
		return
	}
	dim := v.dims[d]
	size /= dim.Out
	o := j / size
	k0, k1 := dim.Taps(o)
	for k := k0; k < k1; k++ {
		v.dim(d+1, at*dim.In+dim.First(o)+k*dim.Dilation, j%size, size)
	}
}

func (v *visit) tap(at int) {
	x := v.plane[at]
	v.sum += float64(x)
	v.count++
	if x > v.best || v.at < 0 && x == v.best {
		v.best, v.at = x, at
	}
}

// paddedTaps counts the taps of output j that are inside the input or its padding.
func paddedTaps(dims []window.Dim, j int) int {
	n := 1
	for d := len(dims) - 1; d >= 0; d-- {
		n *= dims[d].Padded(j % dims[d].Out)
		j /= dims[d].Out
	}
	return n
}

func (v *visit) result(p Params) float32 {
	if p.Kind == Max {
		return v.best
	}
	n := v.count
	if p.CountIncludePad {
		n = v.padded
	}
	return float32(v.sum / float64(max(n, 1)))
}
