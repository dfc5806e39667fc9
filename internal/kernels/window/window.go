// Package window splits the output of a sliding window (convolution, pooling)
// into runs over which the same taps lie inside the input, so that a kernel
// needs no bounds test and padding costs nothing.
package window

// Dim is one spatial dimension of a sliding window: sizes and steps in
// elements.
type Dim struct {
	In, Out                  int
	Kernel, Stride, Dilation int
	Begin, End               int // padding
}

// Span is a run of outputs [Lo,Hi) that all use exactly the taps [K0,K1).
// A window wholly in the padding has K0 == K1.
type Span struct {
	Lo, Hi int
	K0, K1 int
	Padded int // taps inside the input or its padding: in ceil mode a last window may go beyond
}

// Len is the number of outputs.
func (s Span) Len() int { return s.Hi - s.Lo }

// Taps is the number of taps inside the input.
func (s Span) Taps() int { return s.K1 - s.K0 }

// OutSize is the number of outputs of a window over in elements with begin+end
// padding; ceil keeps a last partial window that starts before the end padding.
// It is 0 or negative where the window doesn't fit.
func OutSize(in, kernel, stride, dilation, begin, end int, ceil bool) int {
	span := in + begin + end - (dilation*(kernel-1) + 1)
	if span < 0 {
		return 0
	}
	n := span/stride + 1
	if ceil && span%stride != 0 && n*stride < in+begin {
		n++
	}
	return n
}

// OutSizes is the sizes of the output along dimensions.
func OutSizes(dims []Dim) []int {
	out := make([]int, len(dims))
	for i, d := range dims {
		out[i] = d.Out
	}
	return out
}

// First is the input index of tap 0 for output o; negative inside the padding.
func (d Dim) First(o int) int { return o*d.Stride - d.Begin }

// Taps gives the taps of output o that lie inside the input.
func (d Dim) Taps(o int) (k0, k1 int) {
	return d.tapsWithin(d.First(o), 0, d.In)
}

// Padded counts the taps of output o that lie inside the input or its padding.
func (d Dim) Padded(o int) int {
	k0, k1 := d.tapsWithin(d.First(o), -d.Begin, d.In+d.End)
	return k1 - k0
}

func (d Dim) tapsWithin(first, lo, hi int) (k0, k1 int) {
	if first < lo {
		k0 = (lo - first + d.Dilation - 1) / d.Dilation
	}
	if first < hi {
		k1 = (hi-1-first)/d.Dilation + 1
	}
	k1 = min(k1, d.Kernel)
	return min(k0, k1), k1
}

// Spans covers [0,Out) in order with as few spans as possible.
func (d Dim) Spans() []Span {
	var out []Span
	for o := range d.Out {
		k0, k1 := d.Taps(o)
		if k0 == k1 {
			k0, k1 = 0, 0
		}
		s := Span{o, o + 1, k0, k1, d.Padded(o)}
		if n := len(out); n > 0 && out[n-1].sameTaps(s) {
			out[n-1].Hi = o + 1
			continue
		}
		out = append(out, s)
	}
	return out
}

func (s Span) sameTaps(t Span) bool {
	return s.K0 == t.K0 && s.K1 == t.K1 && s.Padded == t.Padded
}
