package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// layer is a convolution with plain operands and the reference's answer.
type layer struct {
	p                               Params
	spatial                         []int
	n                               int
	x, w, bias, residual, want, mag []float32
}

func newLayer(t testing.TB, rng *rand.Rand, p Params, spatial []int, n int) *layer {
	t.Helper()
	out, err := p.OutSpatial(spatial)
	if err != nil {
		t.Fatal(err)
	}
	l := &layer{p: p, spatial: spatial, n: n}
	l.x = random(rng, n*p.In*product(spatial))
	l.w = random(rng, p.WeightCount())
	l.bias = random(rng, p.Out)
	if p.Residual {
		l.residual = random(rng, n*p.Out*product(out))
	}
	l.want = make([]float32, n*p.Out*product(out))
	if err := Reference(p, spatial, n, l.x, l.w, l.bias, l.residual, l.want); err != nil {
		t.Fatal(err)
	}
	return l
}

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = rng.Float32()*2 - 1
	}
	return x
}

// planned is what a Plan and a TransposePlan have in common.
type planned interface {
	Algorithm() Algorithm
	OutSpatial() []int
	InSize(n int) int
	OutSize(n int) int
	PackedSize() int
	ScratchSize(threads int) int
	Pack(dst, weights, bias []float32) error
	run(p *pool.Pool, op Operands) error
}

type ordinary struct{ *Plan }

func (o ordinary) run(p *pool.Pool, op Operands) error { return o.NewRunner().Run(p, op) }

// run computes the layer with the kernels of a level and gives the plain output.
func (l *layer) run(t testing.TB, level cpu.Target, p *pool.Pool) []float32 {
	t.Helper()
	plan, err := New(l.p, l.spatial, level)
	if err != nil {
		t.Fatal(err)
	}
	return l.compute(t, ordinary{plan}, level, p)
}

// compute runs a plan on buffers that end at an unreadable page.
func (l *layer) compute(t testing.TB, plan planned, level cpu.Target, p *pool.Pool) []float32 {
	t.Helper()
	floats := func(n int) []float32 { return guard.Slice[float32](t, n, guard.End) }
	op := Operands{N: l.n, Weights: floats(plan.PackedSize()), Out: floats(plan.OutSize(l.n)), Scratch: floats(plan.ScratchSize(p.Threads()))}
	if err := plan.Pack(op.Weights, l.w, l.bias); err != nil {
		t.Fatal(err)
	}
	for i := range op.Out {
		op.Out[i] = float32(math.NaN())
	}
	out := product(plan.OutSpatial())
	op.In = floats(plan.InSize(l.n))
	if plan.Algorithm().InBlocked() {
		NewToBlocked(l.p.In, product(l.spatial), level).Run(nil, l.n, op.In, l.x)
		if a := plan.Algorithm(); a == Depthwise || (a == Direct || a == Pointwise) && max(l.p.Groups, 1) == 1 || spansBlocks(l.p, Block(level)) {
			l.spoilPadding(op.In, Block(level))
		}
	} else {
		copy(op.In, l.x)
	}
	if l.p.Residual {
		op.Residual = floats(plan.OutSize(l.n))
		if plan.Algorithm().OutBlocked() {
			NewToBlocked(l.p.Out, out, level).Run(nil, l.n, op.Residual, l.residual)
		} else {
			copy(op.Residual, l.residual)
		}
	}
	if l.n == 2 && l.p.Residual { // in place
		copy(op.Out, op.Residual)
		op.Residual = op.Out
	}
	if err := plan.run(p, op); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, len(l.want))
	if plan.Algorithm().OutBlocked() {
		NewFromBlocked(l.p.Out, out, level).Run(nil, l.n, got, op.Out)
	} else {
		copy(got, op.Out)
	}
	return got
}

// spoilPadding puts NaN where the last block of an image has no channel: an
// infinite activation can leave it there, and no sum may read it.
func (l *layer) spoilPadding(in []float32, block int) {
	used := l.p.In % block
	if used == 0 {
		return
	}
	plane := product(l.spatial) * block
	image := blocks(l.p.In, block) * plane
	for n := range l.n {
		last := in[(n+1)*image-plane:][:plane]
		for i := range last {
			if i%block >= used {
				last[i] = float32(math.NaN())
			}
		}
	}
}

// differ says where got is further from the reference than rounding explains:
// the sum of k products of numbers in [-1,1].
func (l *layer) differ(got []float32) error {
	k := l.p.WeightCount()/l.p.Out + 2
	tolerance := 1e-6 * math.Sqrt(float64(k)) * 4
	for i, w := range l.want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= tolerance*max(1, math.Abs(float64(w)))) {
			return fmt.Errorf("output %d is %g, want %g", i, got[i], w)
		}
	}
	return nil
}

func (l *layer) String() string {
	return fmt.Sprintf("%+v input %v batch %d", l.p, l.spatial, l.n)
}

func pools(t testing.TB) []*pool.Pool {
	three := pool.New(3)
	t.Cleanup(three.Close)
	return []*pool.Pool{nil, three}
}

func TestKernelsAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ps := pools(t)
	for i := range 240 {
		p, spatial := randomLayer(rng)
		if _, err := p.OutSpatial(spatial); err != nil {
			continue
		}
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			l := newLayer(t, rng, p, spatial, 1+rng.IntN(2))
			for _, level := range cpu.Levels() {
				plan, err := New(p, spatial, level)
				if err != nil {
					t.Fatal(err)
				}
				l.check(t, ordinary{plan}, level, ps, l.differ)
			}
		})
	}
}

// check runs a plan on pools of threads: the answer is near the reference, and
// its bits are the same on all.
func (l *layer) check(t *testing.T, plan planned, level cpu.Target, ps []*pool.Pool, differ func([]float32) error) {
	t.Helper()
	var first []float32
	for _, threads := range ps {
		got := l.compute(t, plan, level, threads)
		if err := differ(got); err != nil {
			t.Fatalf("%v on %v with %v: %v", plan.Algorithm(), level, l, err)
		}
		if first == nil {
			first = got
		} else if at := firstDifference(first, got); at >= 0 {
			t.Fatalf("%v on %v with %v: output %d has other bits on %d threads", plan.Algorithm(), level, l, at, threads.Threads())
		}
	}
}

// randomLayer draws from all the algorithms.
func randomLayer(rng *rand.Rand) (Params, []int) {
	r := 2
	if rng.IntN(6) == 0 {
		r = 1 + 2*rng.IntN(2)
	}
	p := Params{Groups: 1, In: 1 + rng.IntN(40), Out: 1 + rng.IntN(70)}
	switch rng.IntN(6) {
	case 4:
		size := 2 << rng.IntN(3)
		p.Groups = 2 + rng.IntN(9)
		p.In, p.Out = p.Groups*size, p.Groups*size
	case 0:
		p.In = 1 + rng.IntN(4)
	case 1:
		p.In = 1 + rng.IntN(50)
		p.Out, p.Groups = p.In, p.In
	case 2:
		p.Groups = 1 + rng.IntN(3)
		p.In, p.Out = p.Groups*16*(1+rng.IntN(2)), p.Groups*16*(1+rng.IntN(3))
	case 3:
		p.Groups = 1 + rng.IntN(4)
		p.In, p.Out = p.Groups*(1+rng.IntN(9)), p.Groups*(1+rng.IntN(20))
	}
	var spatial []int
	for range r {
		spatial = append(spatial, 1+rng.IntN(24/r+6))
		p.Kernel = append(p.Kernel, 1+rng.IntN(5))
		p.Stride = append(p.Stride, 1+rng.IntN(3))
		p.Dilation = append(p.Dilation, 1+rng.IntN(8)/6)
	}
	for range 2 * r {
		p.Pads = append(p.Pads, rng.IntN(4))
	}
	if rng.IntN(4) == 0 { // pointwise
		p.Kernel, p.Stride, p.Pads = orOnes(nil, r), orOnes(nil, r), nil
	}
	p.Residual = rng.IntN(2) == 0
	p.Act = Activation{Kind: Kind(rng.IntN(int(Silu) + 1)), Lo: -0.5, Hi: 1.5, Alpha: 0.1}
	return p, spatial
}

func firstDifference(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

func TestBatchDoesNotChangeBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, p := range []Params{
		{In: 40, Out: 50, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
		{In: 70, Out: 33, Kernel: []int{1, 1}},
		{In: 3, Out: 20, Kernel: []int{7, 7}, Stride: []int{2, 2}, Pads: []int{3, 3, 3, 3}},
		{In: 24, Out: 24, Groups: 24, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
		{In: 12, Out: 20, Groups: 2, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
		{In: 28, Out: 28, Groups: 7, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Residual: true, Act: Activation{Kind: Relu}},
		{In: 40, Out: 3, Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 2}},
		{In: 29 * 2, Out: 29 * 2, Groups: 2, Kernel: []int{1, 1}},
		{In: 21, Out: 21, Groups: 21, Kernel: []int{3, 2, 3}, Stride: []int{2, 1, 1}, Dilation: []int{2, 1, 1}, Pads: []int{5, 1, 1, 2, 0, 1}, Act: Activation{Kind: Silu}},
		{In: 36, Out: 36, Groups: 36, Kernel: []int{3, 3, 1}, Pads: []int{1, 1, 0, 1, 1, 0}, Act: Activation{Kind: Relu}},
	} {
		spatial := []int{13, 17, 5}[:len(p.Kernel)]
		const n = 5
		all := newLayer(t, rng, p, spatial, n)
		for _, level := range cpu.Levels() {
			for _, pl := range pools(t) {
				if err := all.differ(all.run(t, level, pl)); err != nil {
					t.Fatalf("%v on %v: %v", all, level, err)
				}
				testBatch(t, all, level, pl)
			}
		}
	}
}

// testBatch compares the bits of a batch with those of each image alone.
func testBatch(t *testing.T, all *layer, level cpu.Target, threads *pool.Pool) {
	t.Helper()
	batch := all.run(t, level, threads)
	for i := range all.n {
		one := *all
		one.n = 1
		one.x = all.x[i*len(all.x)/all.n:][:len(all.x)/all.n]
		one.want = all.want[i*len(all.want)/all.n:][:len(all.want)/all.n]
		if all.residual != nil {
			one.residual = all.residual[i*len(all.want)/all.n:][:len(all.want)/all.n]
		}
		if at := firstDifference(one.run(t, level, nil), batch[i*len(one.want):][:len(one.want)]); at >= 0 {
			t.Fatalf("%v %v: output %d of image %d differs in a batch", level, all, at, i)
		}
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for _, p := range []Params{
		{In: 32, Out: 32, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Act: Activation{Kind: Silu}},
		{In: 32, Out: 32, Groups: 32, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
		{In: 12, Out: 20, Groups: 2, Kernel: []int{3, 3}},
		{In: 12, Out: 20, Groups: 2, Kernel: []int{3, 3}, Stride: []int{2, 2}},
	} {
		plan, err := New(p, []int{14, 14}, cpu.Level())
		if err != nil {
			t.Fatal(err)
		}
		op := Operands{N: 1, In: make([]float32, plan.InSize(1)), Weights: make([]float32, plan.PackedSize()),
			Out: make([]float32, plan.OutSize(1)), Scratch: make([]float32, plan.ScratchSize(1))}
		r := plan.NewRunner()
		if a := testing.AllocsPerRun(5, func() {
			if err := r.Run(nil, op); err != nil {
				t.Fatal(err)
			}
		}); a != 0 {
			t.Errorf("%v: %v allocations a run", plan.Algorithm(), a)
		}
	}
}

func TestErrorsSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		p       Params
		spatial []int
	}{
		{Params{In: 3, Out: 4, Groups: 2, Kernel: []int{1}}, []int{5}},
		{Params{In: 3, Out: 4}, []int{5}},
		{Params{In: 3, Out: 4, Kernel: []int{3, 3}, Stride: []int{1}}, []int{5, 5}},
		{Params{In: 3, Out: 4, Kernel: []int{3, 3}, Stride: []int{0, 1}}, []int{5, 5}},
		{Params{In: 3, Out: 4, Kernel: []int{7}}, []int{5}},
		{Params{In: 3, Out: 4, Kernel: []int{1}, Pads: []int{math.MaxInt, math.MaxInt}}, []int{5}},
		{Params{In: 3, Out: 4, Kernel: []int{1}, Pads: []int{-1, 0}}, []int{5}},
		{Params{In: 3, Out: 4, Kernel: []int{1, 1}}, []int{5}},
	} {
		if _, err := New(c.p, c.spatial, cpu.Generic); err == nil {
			t.Errorf("%+v on %v: no error", c.p, c.spatial)
		}
	}
}

func TestReordersKeepEveryChannel(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, level := range cpu.Levels() {
		b := Block(level)
		for _, c := range []int{1, 3, 8, 16, 17, 48} {
			for _, plane := range []int{1, 7, 16, 49, 1030} {
				const n = 2
				x := random(rng, n*c*plane)
				src, back := guard.Copy(t, x, guard.End), guard.Slice[float32](t, len(x), guard.End)
				blocked := guard.Slice[float32](t, BlockedLen(n, c, plane, b), guard.End)
				for i := range blocked {
					blocked[i] = 9
				}
				NewToBlocked(c, plane, level).Run(nil, n, blocked, src)
				for i, v := range blocked {
					image, channel := i/(blocks(c, b)*plane*b), i/(plane*b)%blocks(c, b)*b+i%b
					want := float32(0)
					if channel < c {
						want = x[(image*c+channel)*plane+i/b%plane]
					}
					if v != want {
						t.Fatalf("%v, %d channels of %d: place %d holds %g, want %g", level, c, plane, i, v, want)
					}
				}
				NewFromBlocked(c, plane, level).Run(nil, n, back, blocked)
				if at := firstDifference(x, back); at >= 0 {
					t.Fatalf("%v, %d channels of %d: number %d doesn't come back", level, c, plane, at)
				}
			}
		}
	}
}

func TestActivationsAgainstTheirDefinition(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 1, -1, 0.5, -3, 3, 2.9999998, -3.0000002, 6, 20, -20, 88, -88, 1e-20, -1e-20, 1e30, -1e30, inf, -inf, nan, 100, -100, 87.5, -87.5}
	for i := range 4000 {
		x = append(x, float32(i-2000)/100)
	}
	for len(x)%maxBlock != 0 {
		x = append(x, 0)
	}
	for _, level := range cpu.Levels() {
		for kind := LeakyRelu; kind <= Silu; kind++ {
			a := Activation{Kind: kind, Alpha: 0.3}
			got := append([]float32(nil), x...)
			forLevel(level).activate(kind, a.Alpha, got)
			for i, v := range x {
				want := float64(a.Apply(v))
				switch d := math.Abs(float64(got[i]) - want); {
				case math.IsNaN(want) != math.IsNaN(float64(got[i])):
					t.Errorf("%v kind %d of %g is %g, want %g", level, kind, v, got[i], want)
				case !(d <= 4e-7*math.Abs(want)+1e-36) && got[i] != a.Apply(v) && !math.IsNaN(want):
					t.Errorf("%v kind %d of %g is %g, want %g", level, kind, v, got[i], want)
				}
			}
		}
	}
}

func TestRunsOfInputBlocksDoNotChangeBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	l := newLayer(t, rng, Params{In: 50, Out: 40, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Residual: true, Act: Activation{Kind: Relu}}, []int{9, 8}, 1)
	for _, level := range cpu.Levels() {
		whole := l.run(t, level, nil)
		plan, err := New(l.p, l.spatial, level)
		if err != nil {
			t.Fatal(err)
		}
		plan.blockRun = 1
		if at := firstDifference(whole, l.compute(t, ordinary{plan}, level, nil)); at >= 0 {
			t.Errorf("%v: output %d differs", level, at)
		}
	}
}
