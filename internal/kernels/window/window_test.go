package window

import (
	"slices"
	"testing"
)

func TestSpansCoverEveryOutputWithItsTaps(t *testing.T) {
	for in := 1; in < 12; in++ {
		for kernel := 1; kernel < 6; kernel++ {
			for stride := 1; stride < 4; stride++ {
				for dilation := 1; dilation < 4; dilation++ {
					for begin := range 7 {
						checkSpans(t, Dim{In: in, Kernel: kernel, Stride: stride, Dilation: dilation, Begin: begin})
					}
				}
			}
		}
	}
}

func checkSpans(t *testing.T, d Dim) {
	t.Helper()
	d.End = 2
	d.Out = OutSize(d.In, d.Kernel, d.Stride, d.Dilation, d.Begin, 2, true)
	at := 0
	for _, s := range d.Spans() {
		if s.Lo != at || s.Hi <= s.Lo {
			t.Fatalf("%+v: span %+v does not start at %d", d, s, at)
		}
		at = s.Hi
		for o := s.Lo; o < s.Hi; o++ {
			padded := 0
			var want []int
			for k := range d.Kernel {
				i := o*d.Stride - d.Begin + k*d.Dilation
				if i >= 0 && i < d.In {
					want = append(want, k)
				}
				if i < d.In+d.End {
					padded++
				}
			}
			var got []int
			for k := s.K0; k < s.K1; k++ {
				got = append(got, k)
			}
			if !slices.Equal(got, want) || s.Padded != padded {
				t.Fatalf("%+v output %d: taps %v of %d, want %v of %d", d, o, got, s.Padded, want, padded)
			}
		}
	}
	if at != max(d.Out, 0) {
		t.Fatalf("%+v: spans end at %d of %d", d, at, d.Out)
	}
}

func TestOutSizeCeilDropsAWindowThatStartsInTheEndPadding(t *testing.T) {
	for _, c := range []struct{ in, k, s, b, e, floor, ceil int }{
		{4, 3, 2, 1, 1, 2, 3},
		{4, 2, 2, 0, 0, 2, 2},
		{5, 2, 2, 0, 0, 2, 3},
		{5, 1, 2, 0, 1, 3, 3}, // a fourth window would start at 6 > 5
		{2, 3, 1, 0, 0, 0, 0},
	} {
		if got := OutSize(c.in, c.k, c.s, 1, c.b, c.e, false); got != c.floor {
			t.Errorf("%+v: floor %d", c, got)
		}
		if got := OutSize(c.in, c.k, c.s, 1, c.b, c.e, true); got != c.ceil {
			t.Errorf("%+v: ceil %d", c, got)
		}
	}
}
