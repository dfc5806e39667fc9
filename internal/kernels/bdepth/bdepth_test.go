package bdepth

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

func randomDim(rng *rand.Rand) window.Dim {
	for {
		d := window.Dim{In: 1 + rng.IntN(70), Kernel: 1 + rng.IntN(5), Stride: 1 + rng.IntN(3), Dilation: 1 + rng.IntN(2), Begin: rng.IntN(4), End: rng.IntN(4)}
		d.Out = window.OutSize(d.In, d.Kernel, d.Stride, d.Dilation, d.Begin, d.End, false)
		if d.Out > 0 {
			return d
		}
	}
}

// layer is a convolution with random operands.
type layer struct {
	Params
	n             int
	x, w, bias    []float32 // x is blocked
	packed, input []byte
}

func newLayer(t *testing.T, rng *rand.Rand, h, w window.Dim) *layer {
	l := &layer{n: 1 + rng.IntN(2), Params: Params{Channels: 1 + rng.IntN(40), H: h, W: w, InBF16: rng.IntN(2) == 0, OutBF16: rng.IntN(2) == 0}}
	noise := func(n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32(rng.NormFloat64())
		}
		return s
	}
	if l.Clamp = rng.IntN(2) == 0; l.Clamp {
		l.Hi = 1
	}
	if rng.IntN(3) == 0 {
		l.After = func(x []float32) {
			for i := range x {
				x[i] *= .5
			}
		}
	}
	pl := New(l.Params, cpu.Generic)
	l.x, l.w = noise(pl.InSize(l.n)/pl.inSize), noise(l.Channels*pl.taps)
	if rng.IntN(2) == 0 {
		l.bias = noise(l.Channels)
	}
	l.packed = guard.Slice[byte](t, pl.PackedSize(), guard.End)
	if err := pl.Pack(l.packed, l.w, l.bias); err != nil {
		t.Fatal(err)
	}
	l.input = guard.Slice[byte](t, pl.InSize(l.n), guard.End)
	if !l.InBF16 {
		copy(floats(l.input), l.x)
		return l
	}
	for i := range l.x {
		numbers(l.input)[i] = mma.Round(l.x[i])
		l.x[i] = mma.Widen(mma.Round(l.x[i]))
	}
	return l
}

// run gives the output's bytes.
func (l *layer) run(t *testing.T, level cpu.Target, p *pool.Pool) []byte {
	t.Helper()
	pl := New(l.Params, level)
	op := Operands{N: l.n, In: l.input, Packed: l.packed, Out: guard.Slice[byte](t, pl.OutSize(l.n), guard.End), Scratch: guard.Slice[byte](t, pl.ScratchSize(p.Threads()), guard.End)}
	for i := range op.Scratch {
		op.Scratch[i] = 0xff // NaN
	}
	r := pl.NewRunner()
	for range 2 {
		if err := r.Run(p, op); err != nil {
			t.Fatal(err)
		}
	}
	return op.Out
}

// want is an output in float64.
func (l *layer) want(blocks, image, c, y, x int) float64 {
	s := 0.
	if l.bias != nil {
		s = float64(l.bias[c])
	}
	for kh := range l.H.Kernel {
		for kw := range l.W.Kernel {
			iy, ix := y*l.H.Stride+kh*l.H.Dilation-l.H.Begin, x*l.W.Stride+kw*l.W.Dilation-l.W.Begin
			if iy >= 0 && iy < l.H.In && ix >= 0 && ix < l.W.In {
				at := (((image*blocks+c/Block)*l.H.In+iy)*l.W.In+ix)*Block + c%Block
				s += float64(l.x[at]) * float64(l.w[(c*l.H.Kernel+kh)*l.W.Kernel+kw])
			}
		}
	}
	if l.Clamp {
		s = math.Min(math.Max(s, float64(l.Lo)), float64(l.Hi))
	}
	if l.After != nil {
		s *= .5
	}
	return s
}

func TestRandomLayers(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	layers := 120
	if cpu.Level() == cpu.Generic {
		layers = 40 // the twins are slow
	}
	for range layers {
		l := newLayer(t, rng, randomDim(rng), randomDim(rng))
		blocks := (l.Channels + Block - 1) / Block
		got := l.run(t, cpu.Level(), nil)
		if string(l.run(t, cpu.Level(), threads)) != string(got) {
			t.Fatalf("%+v: 3 threads give something else", l.Params)
		}
		if string(l.run(t, cpu.Generic, nil)) != string(got) {
			t.Fatalf("%+v: the portable twin gives something else", l.Params)
		}
		for i := range l.n * l.Channels * l.H.Out * l.W.Out {
			image, c, y, x := i/(l.Channels*l.H.Out*l.W.Out), i/(l.H.Out*l.W.Out)%l.Channels, i/l.W.Out%l.H.Out, i%l.W.Out
			at := (((image*blocks+c/Block)*l.H.Out+y)*l.W.Out+x)*Block + c%Block
			want, bound := l.want(blocks, image, c, y, x), 1e-4
			var g float64
			if l.OutBF16 {
				g, bound = float64(mma.Widen(numbers(got)[at])), bound+math.Abs(want)/256
			} else {
				g = float64(floats(got)[at])
			}
			if !(math.Abs(g-want) <= bound) {
				t.Fatalf("%d images, %+v: channel %d of image %d at %d,%d is %v, want %v", l.n, l.Params, c, image, y, x, g, want)
			}
		}
	}
}

func TestErrorsAndAllocations(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	d := window.Dim{In: 40, Out: 40, Kernel: 3, Stride: 1, Dilation: 1, Begin: 1, End: 1}
	pl := New(Params{Channels: 40, H: d, W: d, InBF16: true}, cpu.Level())
	if err := pl.Pack(make([]byte, pl.PackedSize()), make([]float32, 1), nil); err == nil {
		t.Error("too few weights are accepted")
	}
	op := Operands{N: 1, In: make([]byte, pl.InSize(1)), Packed: make([]byte, pl.PackedSize()), Out: make([]byte, pl.OutSize(1)), Scratch: make([]byte, pl.ScratchSize(2))}
	r := pl.NewRunner()
	run := func() {
		if err := r.Run(p, op); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
	for name, spoil := range map[string]func(*Operands){
		"input": func(o *Operands) { o.In = o.In[1:] }, "weights": func(o *Operands) { o.Packed = o.Packed[1:] },
		"output": func(o *Operands) { o.Out = o.Out[1:] }, "scratch": func(o *Operands) { o.Scratch = nil },
	} {
		bad := op
		spoil(&bad)
		if err := r.Run(p, bad); err == nil {
			t.Errorf("a short %s is accepted", name)
		}
	}
}
