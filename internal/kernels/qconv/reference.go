package qconv

import (
	"fmt"
	"math"
)

// Reference defines what a Plan computes, for n images of h×w pixels.
func Reference(p Params, n, h, w int, x []byte, weights Weights, residual, y []byte) error {
	p, err := p.normalize()
	if err != nil {
		return err
	}
	d, err := p.dims(h, w)
	if err != nil {
		return err
	}
	perIn, perOut := p.In/p.Groups, p.Out/p.Groups
	if n := len(weights.Scale); n != 1 && n != p.Out {
		return fmt.Errorf("qconv: %d weight scales for %d output channels, expected 1 or %d", n, p.Out, p.Out)
	}
	if n := len(weights.Bias); weights.Bias != nil && n != p.Out {
		return fmt.Errorf("qconv: bias of %d numbers for %d output channels", n, p.Out)
	}
	i := 0
	for img := range n {
		for oy := range d[0].Out {
			for ox := range d[1].Out {
				for o := range p.Out {
					acc := int32(0)
					if weights.Bias != nil {
						acc = weights.Bias[o]
					}
					for ky := range p.Kernel[0] {
						for kx := range p.Kernel[1] {
							iy, ix := d[0].First(oy)+ky*p.Dilation[0], d[1].First(ox)+kx*p.Dilation[1]
							if iy < 0 || ix < 0 || iy >= h || ix >= w {
								continue
							}
							at := ((img*h+iy)*w+ix)*p.In + o/perOut*perIn
							for c := range perIn {
								acc += (p.Input.number(x[at+c]) - p.Input.Zero) * int32(weights.at(((o*perIn+c)*p.Kernel[0]+ky)*p.Kernel[1]+kx))
							}
						}
					}
					v := float32(float32(acc) * weights.Scale[o%len(weights.Scale)])
					if r := p.Residual; r != nil {
						v = r.add(v, residual[i])
					}
					y[i] = byte(nearest(v, p.Output.Zero, p.Lo, p.Hi))
					i++
				}
			}
		}
	}
	return nil
}

// number is what a byte holds.
func (f Format) number(b byte) int32 {
	if f.Signed {
		return int32(int8(b))
	}
	return int32(b)
}

// nearest is round(v) + zero, at least lo and at most hi; of a NaN lo.
func nearest(v float32, zero, lo, hi int32) int32 {
	if v != v {
		return lo
	}
	return int32(min(max(math.RoundToEven(float64(v))+float64(zero), float64(lo)), float64(hi)))
}

// add is the sum of the convolution v and a byte of the residual, in units of
// the output's scale.
func (r *Residual) add(v float32, z byte) float32 {
	mid := float32(float32(nearest(v, r.Mid.Zero, r.MidLo, r.MidHi)-r.Mid.Zero) * r.MidScale)
	other := float32(float32(r.number(z)-r.Zero) * r.Scale)
	return (mid + other) / r.OutScale
}
