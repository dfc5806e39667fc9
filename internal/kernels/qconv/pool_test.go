package qconv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

func TestMaxPool(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 60 {
		dim := func() window.Dim {
			d := window.Dim{In: 3 + rng.IntN(12), Kernel: 1 + rng.IntN(3), Stride: 1 + rng.IntN(3), Dilation: 1 + rng.IntN(2), Begin: rng.IntN(2), End: rng.IntN(3)}
			d.Out = max(window.OutSize(d.In, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End, rng.IntN(2) == 0), 1)
			return d
		}
		h, w, c, n, signed := dim(), dim(), 1+rng.IntN(70), 1+rng.IntN(2), i%2 == 0
		x := random(rng, n*h.In*w.In*c)
		want := maxPool(h, w, c, n, signed, x)
		for _, level := range cpu.Levels() {
			for _, p := range append(threads(t), nil) {
				m := NewMaxPool(h, w, c, signed, level)
				got := guard.Slice[byte](t, len(want), guard.End)
				if err := m.Run(p, n, guard.Copy(t, x, guard.End), got, guard.Slice[byte](t, m.ScratchSize(n), guard.End)); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Fatalf("%s: %+v %+v, %d channels: differs", level, h, w, c)
				}
			}
		}
	}
	var none *pool.Pool
	if err := NewMaxPool(window.Dim{In: 2, Out: 2, Kernel: 1, Stride: 1, Dilation: 1}, window.Dim{In: 2, Out: 2, Kernel: 1, Stride: 1, Dilation: 1}, 3, false, cpu.Level()).Run(none, 1, nil, nil, nil); err == nil {
		t.Error("no error for empty buffers")
	}
}

func maxPool(h, w window.Dim, c, n int, signed bool, x []byte) []byte {
	f := Format{Signed: signed}
	var out []byte
	for img := range n {
		for y := range h.Out {
			for px := range w.Out {
				for ch := range c {
					best, _ := f.limits()
					for ky := range h.Kernel {
						for kx := range w.Kernel {
							iy, ix := h.First(y)+ky*h.Dilation, w.First(px)+kx*w.Dilation
							if iy >= 0 && ix >= 0 && iy < h.In && ix < w.In {
								best = max(best, f.number(x[((img*h.In+iy)*w.In+ix)*c+ch]))
							}
						}
					}
					out = append(out, byte(best))
				}
			}
		}
	}
	return out
}

func TestSums(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, f := range []Format{{Zero: 9}, {Signed: true, Zero: -100}} {
		for _, pixels := range []int{1, 49, 256, 700} {
			const channels = 21
			x := random(rng, pixels*channels)
			got := make([]int32, channels)
			Sums(got, x, f)
			for c := range got {
				want := int32(0)
				for p := range pixels {
					want += f.number(x[p*channels+c]) - f.Zero
				}
				if got[c] != want {
					t.Fatalf("%+v, %d pixels: channel %d is %d, want %d", f, pixels, c, got[c], want)
				}
			}
		}
	}
}

func TestInterleave(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, area := range []int{1, 15, 16, 17, 40000} {
		src := guard.Copy(t, random(rng, 2*3*area), guard.End)
		dst := guard.Slice[byte](t, len(src), guard.End)
		for _, p := range append(threads(t), nil) {
			if err := NewInterleave(2, area).Run(p, dst, src); err != nil {
				t.Fatal(err)
			}
			for i, x := range src {
				img, plane, at := i/(3*area), i/area%3, i%area
				if dst[img*3*area+3*at+plane] != x {
					t.Fatalf("area %d: byte %d is misplaced", area, i)
				}
			}
		}
	}
}

func BenchmarkMaxPool(b *testing.B) {
	for _, c := range []int{24, 64} {
		d := window.Dim{In: 112, Out: 56, Kernel: 3, Stride: 2, Dilation: 1, Begin: 1, End: 1}
		m := NewMaxPool(d, d, c, false, cpu.Level())
		in, out, scratch := make([]byte, 112*112*c), make([]byte, 56*56*c), make([]byte, m.ScratchSize(1))
		b.Run(fmt.Sprint(c), func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				if err := m.Run(nil, 1, in, out, scratch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestWiden(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for n := range 70 {
		for _, flips := range []byte{0, 128} {
			src := guard.Copy(t, random(rng, n), guard.End)
			got, want := guard.Slice[byte](t, 2*n, guard.End), make([]byte, 2*n)
			current().widen(got, src, flips)
			if portableWiden(want, src, flips); !bytes.Equal(got, want) {
				t.Fatalf("%d bytes, flips %d: %v of %v", n, flips, got, src)
			}
		}
	}
}
