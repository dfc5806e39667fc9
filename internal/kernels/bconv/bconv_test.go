package bconv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// layer is a convolution with random operands, in plain order.
type layer struct {
	Params
	n             int
	x, w, bias, z []float32
}

func dim(in, kernel, stride, dilation, begin, end int) window.Dim {
	d := window.Dim{In: in, Kernel: kernel, Stride: stride, Dilation: dilation, Begin: begin, End: end}
	d.Out = window.OutSize(in, kernel, stride, dilation, begin, end, false)
	return d
}

func newLayer(rng *rand.Rand, n, in, out int, plain bool, h, w window.Dim) *layer {
	l := &layer{n: n, Params: Params{In: in, Out: out, Plain: plain, H: h, W: w, Groups: 1}}
	if !plain && rng.IntN(3) == 0 {
		l.Groups = 1 + rng.IntN(6)
		l.In, l.Out = l.Groups*(1+in/l.Groups), l.Groups*(1+out/l.Groups)
		in, out = l.In, l.Out
	}
	l.Places = [2]Place{{h.Out, 0, 1}, {w.Out, 0, 1}}
	noise := func(n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32(rng.NormFloat64())
		}
		return s
	}
	l.x, l.w = noise(n*in*h.In*w.In), noise(out*in/l.Groups*h.Kernel*w.Kernel)
	if rng.IntN(2) == 0 {
		l.bias = noise(out)
	}
	if l.Residual = rng.IntN(2) == 0; l.Residual {
		l.z = noise(n * out * h.Out * w.Out)
		l.ResidualLast = rng.IntN(3) == 0
	}
	l.InBF16, l.ResidualBF16, l.OutBF16 = !plain && rng.IntN(2) == 0, rng.IntN(2) == 0, rng.IntN(2) == 0
	if l.Clamp = rng.IntN(2) == 0; l.Clamp {
		l.Lo, l.Hi = 0, 3
	}
	if l.OutBF16 && !l.Clamp && (!l.Residual || l.ResidualLast) && rng.IntN(2) == 0 {
		l.Silu = true
	} else if rng.IntN(3) == 0 {
		l.After = func(x []float32) {
			for i := range x {
				x[i] = x[i] * .5
			}
		}
	}
	return l
}

func (l *layer) String() string {
	return fmt.Sprintf("%d images %d→%d, %d groups, plain %v, %+v, %+v", l.n, l.In, l.Out, l.Groups, l.Plain, l.H, l.W)
}

// blocked brings [n, c, plane] into blocks; channels that don't exist hold numbers.
func blocked(x []float32, n, c, plane int) []float32 {
	blocks := (c + Block - 1) / Block
	y := make([]float32, n*blocks*plane*Block)
	for i := range y {
		y[i] = 7
	}
	for i := range n {
		for ch := range c {
			for p := range plane {
				y[((i*blocks+ch/Block)*plane+p)*Block+ch%Block] = x[(i*c+ch)*plane+p]
			}
		}
	}
	return y
}

// stored copies x to where memory ends, as float32 or rounded.
func stored(t *testing.T, x []float32, bf16 bool) []byte {
	b := guard.Slice[byte](t, len(x)*sizeOf(bf16), guard.End)
	if !bf16 {
		copy(floats(b), x)
		return b
	}
	for i := range numbers(b) {
		numbers(b)[i] = mma.Round(x[i])
	}
	return b
}

// run gives the output in plain order.
func (l *layer) run(t *testing.T, level cpu.Target, p *pool.Pool) []float32 {
	t.Helper()
	pl := New(l.Params, level)
	side := guard.End
	in := l.x
	if !l.Plain {
		in = blocked(l.x, l.n, l.In, l.H.In*l.W.In)
	}
	weights := guard.Slice[byte](t, pl.PackedSize(), side)
	if err := pl.Pack(weights, l.w, l.bias); err != nil {
		t.Fatal(err)
	}
	plane := l.Places[0].Size * l.Places[1].Size
	op := Operands{N: l.n, In: stored(t, in, l.InBF16), Packed: weights, Out: guard.Slice[byte](t, pl.OutSize(l.n), side)}
	if l.Residual {
		op.Residual = stored(t, blocked(l.z, l.n, l.Out, plane), l.ResidualBF16)
	}
	op.Scratch = guard.Slice[byte](t, pl.ScratchSize(p.Threads()), side)
	for i := range op.Scratch {
		op.Scratch[i] = 0xff // NaN
	}
	r := pl.NewRunner()
	for range 2 {
		if err := r.Run(p, op); err != nil {
			t.Fatal(err)
		}
	}
	out := make([]float32, l.n*l.Out*plane)
	for i := range out {
		image, ch, px := i/(l.Out*plane), i/plane%l.Out, i%plane
		at := ((image*pl.outBlocks+ch/Block)*plane+px)*Block + ch%Block
		if l.OutBF16 {
			out[i] = mma.Widen(numbers(op.Out)[at])
		} else {
			out[i] = floats(op.Out)[at]
		}
	}
	return out
}

func rounded(x float32) float64 { return float64(mma.Widen(mma.Round(x))) }

// want is an output in float64 of rounded operands.
func (l *layer) want(image, o, y, x int) float64 {
	s := 0.
	if l.bias != nil {
		s = float64(l.bias[o])
	}
	size := l.In / l.Groups
	for i := range size {
		c := o/(l.Out/l.Groups)*size + i
		for kh := range l.H.Kernel {
			for kw := range l.W.Kernel {
				iy, ix := y*l.H.Stride+kh*l.H.Dilation-l.H.Begin, x*l.W.Stride+kw*l.W.Dilation-l.W.Begin
				if iy >= 0 && iy < l.H.In && ix >= 0 && ix < l.W.In {
					s += rounded(l.x[((image*l.In+c)*l.H.In+iy)*l.W.In+ix]) * rounded(l.w[((o*size+i)*l.H.Kernel+kh)*l.W.Kernel+kw])
				}
			}
		}
	}
	z := 0.
	if l.Residual {
		z = float64(l.z[((image*l.Out+o)*l.H.Out+y)*l.W.Out+x])
		if l.ResidualBF16 {
			z = rounded(float32(z))
		}
	}
	if !l.ResidualLast {
		s += z
	}
	if l.Clamp {
		s = math.Min(math.Max(s, float64(l.Lo)), float64(l.Hi))
	}
	if l.After != nil {
		s *= .5
	}
	if l.Silu {
		s /= 1 + math.Exp(-s)
	}
	if l.ResidualLast {
		s += z
	}
	return s
}

// rounding is how far an output may be from x for being stored.
func (l *layer) rounding(x float64) float64 {
	if l.OutBF16 {
		return math.Abs(x)/256 + 1e-3
	}
	return 0
}

func (l *layer) check(t *testing.T, level cpu.Target, p *pool.Pool) []float32 {
	t.Helper()
	got := l.run(t, level, p)
	bound := 1e-4 * math.Sqrt(float64(l.In*l.H.Kernel*l.W.Kernel))
	for i, g := range got {
		image, o, y, x := i/(l.Out*l.H.Out*l.W.Out), i/(l.H.Out*l.W.Out)%l.Out, i/l.W.Out%l.H.Out, i%l.W.Out
		if want := l.want(image, o, y, x); !(math.Abs(float64(g)-want) <= bound+l.rounding(want)) {
			t.Fatalf("%v: output %d,%d,%d,%d is %v, want %v", l, image, o, y, x, g, want)
		}
	}
	return got
}

func same(a, b []float32) (int, bool) {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i, false
		}
	}
	return 0, true
}

// random is a layer of odd sizes.
func random(rng *rand.Rand, plain bool) *layer {
	side := func(most int) window.Dim {
		for {
			d := dim(1+rng.IntN(20), 1+rng.IntN(most), 1+rng.IntN(3), 1+rng.IntN(2), rng.IntN(6)-2, rng.IntN(6)-2) // transposed ones crop
			if plain {
				d.Dilation = 1
				d = dim(d.In, d.Kernel, d.Stride, 1, d.Begin, d.End)
			}
			if d.Out > 0 && d.Begin < d.Kernel*d.Dilation && d.End < d.Kernel*d.Dilation {
				return d
			}
		}
	}
	in := 1 + rng.IntN(70)
	if rng.IntN(3) == 0 { // one block
		in = 1 + rng.IntN(16)
	}
	if plain {
		in = 1 + rng.IntN(4)
	}
	return newLayer(rng, 1+rng.IntN(2), in, 1+rng.IntN(70), plain, side(8), side(8))
}

func TestRandomLayers(t *testing.T) {
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	cases := 80
	if !mma.Available() {
		cases = 15 // the twins are slow
	}
	for i := range cases {
		l := random(rng, i%3 == 0)
		if i%4 == 1 {
			l = newLayer(rng, 2, 1+rng.IntN(100), 1+rng.IntN(70), false, dim(1+rng.IntN(20), 1, 1, 1, 0, 0), dim(1+rng.IntN(20), 1, 1, 1, 0, 0))
		}
		want := l.check(t, cpu.Level(), nil)
		if at, ok := same(l.run(t, cpu.Level(), threads), want); !ok {
			t.Fatalf("%v: 3 threads give another output %d", l, at)
		}
		if l.n*l.In*l.Out*l.H.Out*l.W.Out*l.H.Kernel*l.W.Kernel < 1<<20 {
			restore := mma.Specify(cpu.Level())
			at, ok := same(l.run(t, cpu.Generic, nil), want)
			restore()
			if !ok && !l.Silu {
				t.Fatalf("%v: the portable twin gives another output %d", l, at)
			}
		}
	}
}

// TestLargeLayers are cut into bands, or shared by the threads.
func TestLargeLayers(t *testing.T) {
	if !mma.Available() {
		t.Skip("slow without tiles")
	}
	threads := pool.New(3)
	defer threads.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, l := range []*layer{
		newLayer(rng, 1, 64, 64, false, dim(56, 3, 1, 1, 1, 1), dim(56, 3, 1, 1, 1, 1)),
		newLayer(rng, 2, 70, 96, false, dim(101, 3, 1, 1, 1, 1), dim(103, 3, 1, 1, 1, 1)),
		newLayer(rng, 1, 256, 512, false, dim(14, 3, 2, 1, 1, 1), dim(14, 3, 2, 1, 1, 1)),
		newLayer(rng, 1, 512, 128, false, dim(28, 1, 1, 1, 0, 0), dim(28, 1, 1, 1, 0, 0)),
		newLayer(rng, 1, 256, 512, false, dim(56, 1, 2, 1, 0, 0), dim(56, 1, 2, 1, 0, 0)),
		newLayer(rng, 1, 3, 64, true, dim(224, 7, 2, 1, 3, 3), dim(224, 7, 2, 1, 3, 3)),
	} {
		want := l.run(t, cpu.Level(), nil)
		for range 300 {
			i := rng.IntN(len(want))
			image, o, y, x := i/(l.Out*l.H.Out*l.W.Out), i/(l.H.Out*l.W.Out)%l.Out, i/l.W.Out%l.H.Out, i%l.W.Out
			if w := l.want(image, o, y, x); math.Abs(float64(want[i])-w) > 1e-2+l.rounding(w) {
				t.Fatalf("%v: output %d,%d,%d,%d is %v, want %v", l, image, o, y, x, want[i], w)
			}
		}
		if at, ok := same(l.run(t, cpu.Level(), threads), want); !ok {
			t.Fatalf("%v: 3 threads give another output %d", l, at)
		}
		if l.n > 1 { // the last image alone
			one := *l
			one.n, one.x = 1, l.x[(l.n-1)*len(l.x)/l.n:]
			if l.Residual {
				one.z = l.z[(l.n-1)*len(l.z)/l.n:]
			}
			if at, ok := same(one.run(t, cpu.Level(), nil), want[(l.n-1)*len(want)/l.n:]); !ok {
				t.Fatalf("%v: an image alone gives another output %d", l, at)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	pl := New(Params{In: 5, Out: 7, H: dim(4, 3, 1, 1, 0, 0), W: dim(4, 3, 1, 1, 0, 0), Places: [2]Place{{2, 0, 1}, {2, 0, 1}}}, cpu.Level())
	if err := pl.Pack(make([]byte, pl.PackedSize()), make([]float32, 1), nil); err == nil {
		t.Error("too few weights are accepted")
	}
	op := Operands{N: 1, In: make([]byte, pl.InSize(1)), Packed: make([]byte, pl.PackedSize()), Out: make([]byte, pl.OutSize(1)), Scratch: make([]byte, pl.ScratchSize(1))}
	if err := pl.NewRunner().Run(nil, op); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Operands){
		"input": func(o *Operands) { o.In = o.In[1:] }, "weights": func(o *Operands) { o.Packed = o.Packed[1:] },
		"output": func(o *Operands) { o.Out = o.Out[1:] }, "scratch": func(o *Operands) { o.Scratch = nil },
	} {
		bad := op
		spoil(&bad)
		if err := pl.NewRunner().Run(nil, bad); err == nil {
			t.Errorf("a short %s is accepted", name)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	size := 20
	if !mma.Available() {
		size = 6 // the twins are slow
	}
	l := newLayer(rand.New(rand.NewPCG(5, 6)), 1, 40, 40, false, dim(size, 3, 1, 1, 1, 1), dim(size, 3, 1, 1, 1, 1))
	l.After = nil
	pl := New(l.Params, cpu.Level())
	op := Operands{N: 1, In: make([]byte, pl.InSize(1)), Packed: make([]byte, pl.PackedSize()), Out: make([]byte, pl.OutSize(1)), Scratch: make([]byte, pl.ScratchSize(2))}
	if l.Residual {
		op.Residual = make([]byte, pl.ResidualSize(1))
	}
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
}
