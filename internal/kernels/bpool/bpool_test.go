package bpool

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

func numbers(b []byte) []uint16 { return unsafe.Slice((*uint16)(unsafe.Pointer(&b[0])), len(b)/2) }

func randomDim(rng *rand.Rand) window.Dim {
	for {
		d := window.Dim{In: 1 + rng.IntN(20), Kernel: 1 + rng.IntN(5), Stride: 1 + rng.IntN(3), Dilation: 1 + rng.IntN(2), Begin: rng.IntN(4), End: rng.IntN(4)}
		d.Out = window.OutSize(d.In, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End, rng.IntN(3) == 0)
		if d.Out > 0 {
			return d
		}
	}
}

// want is the largest tap of a window, found one by one.
func want(pl *Plan, in []uint16, plane, y, x, c int) float32 {
	most := float32(math.Inf(-1))
	for kh := range pl.h.Kernel {
		for kw := range pl.w.Kernel {
			iy, ix := y*pl.h.Stride+kh*pl.h.Dilation-pl.h.Begin, x*pl.w.Stride+kw*pl.w.Dilation-pl.w.Begin
			if iy >= 0 && iy < pl.h.In && ix >= 0 && ix < pl.w.In {
				most = max(most, mma.Widen(in[((plane*pl.h.In+iy)*pl.w.In+ix)*16+c]))
			}
		}
	}
	return most
}

func TestWindows(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		images, level := 1+rng.IntN(2), cpu.Level()
		if i%5 == 0 {
			level = cpu.Generic
		}
		pl := New(1+rng.IntN(3), randomDim(rng), randomDim(rng), level)
		in, out := guard.Slice[byte](t, pl.InSize(images), guard.Side(i&1)), guard.Slice[byte](t, pl.OutSize(images), guard.Side(i&1))
		for j := range numbers(in) {
			numbers(in)[j] = mma.Round(float32(rng.NormFloat64()))
		}
		r := pl.NewRunner()
		for _, p := range []*pool.Pool{nil, threads} {
			clear(out)
			if err := r.Run(p, images, in, out); err != nil {
				t.Fatal(err)
			}
			for at, got := range numbers(out) {
				px := at / 16
				plane, y, x := px/(pl.h.Out*pl.w.Out), px/pl.w.Out%pl.h.Out, px%pl.w.Out
				if w := want(pl, numbers(in), plane, y, x, at%16); mma.Widen(got) != w {
					t.Fatalf("%+v %+v: channel %d of plane %d at %d,%d is %v, want %v", pl.h, pl.w, at%16, plane, y, x, mma.Widen(got), w)
				}
			}
		}
	}
}

func TestWrongSizesAreErrors(t *testing.T) {
	d := window.Dim{In: 4, Out: 2, Kernel: 2, Stride: 2, Dilation: 1}
	pl := New(1, d, d, cpu.Level())
	if err := pl.NewRunner().Run(nil, 1, make([]byte, pl.InSize(1)-1), make([]byte, pl.OutSize(1))); err == nil {
		t.Error("a short input is accepted")
	}
	if err := pl.NewRunner().Run(nil, 1, make([]byte, pl.InSize(1)), make([]byte, pl.OutSize(2))); err == nil {
		t.Error("a long output is accepted")
	}
}
