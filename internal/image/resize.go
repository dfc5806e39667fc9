package image

import "math"

// precision is the number of fraction bits of the fixed-point weights: 8 bits
// of the pixel and 2 of headroom for overshoot leave 22 of 32.
const precision = 32 - 8 - 2

// Resize scales p to w x h, antialiased, with the same bits as Pillow's
// Image.resize for 8-bit pictures: fixed-point weights, one pass per axis, each
// rounded to 8 bits. As in Pillow 13, the vertical pass goes first where it
// removes more than twice as many lines as the other does columns (earlier
// versions always begin horizontally, which can change a value by one).
func (p *Pixels) Resize(w, h int, f Filter) *Pixels {
	if w == p.Width && h == p.Height {
		return p
	}
	if f == Nearest {
		return p.nearest(w, h)
	}
	if h < p.Height && p.Height-h > 2*(p.Width-w) {
		return p.vertical(h, f).horizontal(w, f)
	}
	return p.horizontal(w, f).vertical(h, f)
}

// taps are the weights of one axis: output i is the sum of n[i] source samples
// from first[i] on, times the weights at i*stride.
type taps struct {
	first, n []int
	stride   int
	weight   []int32
}

func newTaps(in, out int, f Filter) *taps {
	scale := float64(in) / float64(out)
	stretch := max(scale, 1) // a filter grows when it shrinks the picture: that is the antialiasing
	support := float64(f.support() * stretch)
	t := &taps{first: make([]int, out), n: make([]int, out), stride: int(math.Ceil(support))*2 + 1}
	t.weight = make([]int32, out*t.stride)
	k := make([]float64, t.stride)
	inverse := 1 / stretch
	for i := range out {
		center := float64((float64(i) + 0.5) * scale)
		lo := max(int(float64(center-support)+0.5), 0)
		n := min(int(float64(center+support)+0.5), in) - lo
		sum := 0.0
		for j := range n {
			k[j] = f.weight(float64(float64(float64(j+lo)-center+0.5) * inverse))
			sum += k[j]
		}
		t.first[i], t.n[i] = lo, n
		for j := range n {
			if sum != 0 {
				k[j] /= sum
			}
			v := float64(k[j] * (1 << precision))
			t.weight[i*t.stride+j] = int32(v + math.Copysign(0.5, v))
		}
	}
	return t
}

func clip8(v int32) byte {
	return byte(min(max(v>>precision, 0), 255))
}

func (p *Pixels) horizontal(w int, f Filter) *Pixels {
	if w == p.Width {
		return p
	}
	t := newTaps(p.Width, w, f)
	out := NewPixels(w, p.Height, p.Channels)
	c := p.Channels
	for y := range p.Height {
		src, dst := p.row(y), out.row(y)
		for x, n := range t.n {
			w := t.weight[x*t.stride : x*t.stride+n]
			s := src[t.first[x]*c : (t.first[x]+n)*c]
			for ch := range c {
				sum := int32(1) << (precision - 1)
				for j, i := 0, ch; j < n; j, i = j+1, i+c {
					sum += int32(s[i]) * w[j]
				}
				dst[x*c+ch] = clip8(sum)
			}
		}
	}
	return out
}

func (p *Pixels) vertical(h int, f Filter) *Pixels {
	if h == p.Height {
		return p
	}
	t := newTaps(p.Height, h, f)
	out := NewPixels(p.Width, h, p.Channels)
	sum := make([]int32, p.Width*p.Channels)
	for y, n := range t.n {
		for i := range sum {
			sum[i] = 1 << (precision - 1)
		}
		for j := range n {
			w := t.weight[y*t.stride+j]
			for i, v := range p.row(t.first[y] + j) {
				sum[i] += int32(v) * w
			}
		}
		dst := out.row(y)
		for i, v := range sum {
			dst[i] = clip8(v)
		}
	}
	return out
}

// nearest picks source pixels as Pillow's affine transform does: positions
// are summed step by step, with that sum's rounding.
func (p *Pixels) nearest(w, h int) *Pixels {
	out := NewPixels(w, h, p.Channels)
	xs, ys := nearestIndex(p.Width, w), nearestIndex(p.Height, h)
	c := p.Channels
	for y, from := range ys {
		src, dst := p.row(from), out.row(y)
		for x, i := range xs {
			copy(dst[x*c:(x+1)*c], src[i*c:])
		}
	}
	return out
}

func nearestIndex(in, out int) []int {
	step := float64(in) / float64(out)
	pos := step * 0.5
	index := make([]int, out)
	for i := range index {
		index[i] = min(int(pos), in-1)
		pos += step
	}
	return index
}
