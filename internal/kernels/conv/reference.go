package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// Reference computes a convolution of any number of spatial dimensions in plain
// layout: x [n, In, spatial…], w [Out, In/Groups, kernel…], bias [Out] or nil,
// residual like the output or nil, out [n, Out, …]. Sums are in float64: it is
// what the kernels are tested against.
func Reference(p Params, spatial []int, n int, x, w, bias, residual, out []float32) error {
	p, err := p.normalize()
	if err != nil {
		return err
	}
	dims, err := p.dims(spatial)
	if err != nil {
		return err
	}
	inSize, outSize := product(spatial), product(window.OutSizes(dims))
	cg, og, taps := p.In/p.Groups, p.Out/p.Groups, product(p.Kernel)
	walk := newWalk(dims)
	for i := range n {
		for o := range p.Out {
			first := (i*p.In + o/og*cg) * inSize
			for j := range outSize {
				var sum float64
				if bias != nil {
					sum = float64(bias[o])
				}
				walk.at(j, func(tap, at int) {
					for c := range cg {
						sum += float64(x[first+c*inSize+at]) * float64(w[(o*cg+c)*taps+tap])
					}
				})
				at := (i*p.Out+o)*outSize + j
				v := float32(sum)
				if residual != nil {
					v += residual[at]
				}
				out[at] = p.Act.Apply(v)
			}
		}
	}
	return nil
}

// walk visits the taps of an output position that lie inside the input.
type walk struct {
	dims []window.Dim
	pos  []int
}

func newWalk(dims []window.Dim) *walk {
	return &walk{dims, make([]int, len(dims))}
}

// at calls f(tap, offset in the input plane) for output position j.
func (w *walk) at(j int, f func(tap, at int)) {
	for d := len(w.dims) - 1; d >= 0; d-- {
		w.pos[d] = j % w.dims[d].Out
		j /= w.dims[d].Out
	}
	w.visit(0, 0, 0, f)
}

func (w *walk) visit(d, tap, at int, f func(tap, at int)) {
	if d == len(w.dims) {
		f(tap, at)
		return
	}
	dim := w.dims[d]
	k0, k1 := dim.Taps(w.pos[d])
	for k := k0; k < k1; k++ {
		w.visit(d+1, tap*dim.Kernel+k, at*dim.In+dim.First(w.pos[d])+k*dim.Dilation, f)
	}
}

// ReferenceTranspose computes a transposed convolution in plain layout; see
// Reference. Weights are [In, Out/Groups, kernel…].
func ReferenceTranspose(p TransposeParams, spatial []int, n int, x, w, bias, residual, out []float32) error {
	p, err := p.normalize()
	if err != nil {
		return err
	}
	size, err := p.OutSpatial(spatial)
	if err != nil {
		return err
	}
	inSize, outSize, taps := product(spatial), product(size), product(p.Kernel)
	cg, og := p.In/p.Groups, p.Out/p.Groups
	sums := make([]float64, outSize)
	for i := range n {
		for o := range p.Out {
			clear(sums)
			for c := range cg {
				from := o/og*cg + c
				for j := range inSize {
					for tap := range taps {
						if at, ok := p.target(spatial, size, j, tap); ok {
							sums[at] += float64(x[(i*p.In+from)*inSize+j]) * float64(w[(from*og+o%og)*taps+tap])
						}
					}
				}
			}
			for j, s := range sums {
				if bias != nil {
					s += float64(bias[o])
				}
				v, at := float32(s), (i*p.Out+o)*outSize+j
				if residual != nil {
					v += residual[at]
				}
				out[at] = p.Act.Apply(v)
			}
		}
	}
	return nil
}

// target is the output that input position j reaches through a tap, if any.
func (p TransposeParams) target(in, out []int, j, tap int) (at int, ok bool) {
	scale := 1
	for d := len(in) - 1; d >= 0; d-- {
		o := j%in[d]*p.Stride[d] + tap%p.Kernel[d]*p.Dilation[d] - p.Pads[d]
		if o < 0 || o >= out[d] {
			return 0, false
		}
		at += o * scale
		scale *= out[d]
		j, tap = j/in[d], tap/p.Kernel[d]
	}
	return at, true
}
