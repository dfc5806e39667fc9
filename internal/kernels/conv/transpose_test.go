package conv

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/pool"
)

func TestTransposeAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	ps := pools(t)
	for done := 0; done < 100; {
		p, spatial := randomLayer(rng)
		tp := TransposeParams{Params: p}
		for i := range p.Kernel {
			spatial[i] = 1 + spatial[i]/2
			tp.OutputPadding = append(tp.OutputPadding, rng.IntN(max(p.Stride[i], p.Dilation[i])))
		}
		out, err := tp.OutSpatial(spatial)
		if err != nil || product(out) > 3000 {
			continue
		}
		done++
		t.Run(strconv.Itoa(done), func(t *testing.T) { testTranspose(t, rng, ps, tp, spatial, out, 1+rng.IntN(2)) })
	}
}

func testTranspose(t *testing.T, rng *rand.Rand, ps []*pool.Pool, p TransposeParams, spatial, out []int, n int) {
	t.Helper()
	l := &layer{p: p.Params, spatial: spatial, n: n}
	l.x = random(rng, n*p.In*product(spatial))
	l.w = random(rng, p.In*(p.Out/p.Groups)*product(p.Kernel))
	l.bias = random(rng, p.Out)
	if p.Residual {
		l.residual = random(rng, n*p.Out*product(out))
	}
	l.want = make([]float32, n*p.Out*product(out))
	if err := ReferenceTranspose(p, spatial, n, l.x, l.w, l.bias, l.residual, l.want); err != nil {
		t.Fatal(err)
	}
	for _, level := range cpu.Levels() {
		plan, err := NewTranspose(p, spatial, level)
		if err != nil {
			t.Fatal(err)
		}
		l.check(t, transposed{plan}, level, ps, l.differ)
	}
}

// Phases that are computed together give the numbers that they give apart.
func TestJoinedPhases(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	ps := pools(t)
	relu := Activation{Kind: Relu}
	for _, c := range []struct {
		p       Params
		more    []int
		spatial []int
	}{
		{Params{In: 32, Out: 9, Kernel: []int{8, 8}, Stride: []int{4, 4}}, []int{3, 3}, []int{5, 6}},
		{Params{In: 19, Out: 9, Kernel: []int{3, 2}, Stride: []int{3, 2}, Act: relu}, []int{1, 0}, []int{7, 4}},
		{Params{In: 40, Out: 9, Kernel: []int{2, 2}, Stride: []int{2, 2}}, nil, []int{9, 17}},
		{Params{In: 33, Out: 9, Kernel: []int{4, 4}, Stride: []int{4, 4}}, nil, []int{1, 1}},
	} {
		c.p.Groups = 1
		p := TransposeParams{Params: c.p, OutputPadding: c.more}
		out, err := p.OutSpatial(c.spatial)
		if err != nil {
			t.Fatal(err)
		}
		testTranspose(t, rng, ps, p, c.spatial, out, 3)
		l := &layer{p: c.p, spatial: c.spatial, n: 1, x: random(rng, c.p.In*product(c.spatial)), w: random(rng, c.p.In*c.p.Out*product(c.p.Kernel)), bias: random(rng, c.p.Out)}
		l.want = make([]float32, c.p.Out*product(out))
		for _, level := range cpu.Levels() {
			plan, err := NewTranspose(p, c.spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.joined == nil {
				t.Errorf("%v on %v: phases are apart", l, level)
			}
			apart := *plan
			apart.joined = nil
			if !slices.Equal(l.compute(t, transposed{plan}, level, nil), l.compute(t, transposed{&apart}, level, nil)) {
				t.Errorf("%v on %v: other numbers than apart", l, level)
			}
		}
	}
}

// transposed makes a TransposePlan look like a Plan to layer.compute.
type transposed struct{ *TransposePlan }

func (t transposed) run(p *pool.Pool, op Operands) error { return t.NewRunner().Run(p, op) }

func TestTransposeKnownValues(t *testing.T) {
	p := TransposeParams{Params: Params{In: 1, Out: 1, Kernel: []int{3}, Stride: []int{2}}}
	out := make([]float32, 7)
	if err := ReferenceTranspose(p, []int{3}, 1, []float32{1, 2, 3}, []float32{1, 10, 100}, nil, nil, out); err != nil {
		t.Fatal(err)
	}
	for i, w := range []float32{1, 10, 102, 20, 203, 30, 300} {
		if out[i] != w {
			t.Errorf("output %d is %g, want %g", i, out[i], w)
		}
	}
}

func BenchmarkTranspose(b *testing.B) {
	p := TransposeParams{Params: Params{In: 128, Out: 64, Kernel: []int{4, 4}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}}}
	plan, err := NewTranspose(p, []int{28, 28}, cpu.Level())
	if err != nil {
		b.Fatal(err)
	}
	op := Operands{N: 1, In: make([]float32, plan.InSize(1)), Weights: make([]float32, plan.PackedSize()),
		Out: make([]float32, plan.OutSize(1)), Scratch: make([]float32, plan.ScratchSize(1))}
	r := plan.NewRunner()
	for b.Loop() {
		if err := r.Run(nil, op); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(plan.FLOPs(1))/(b.Elapsed().Seconds()/float64(b.N))/1e9, "GF")
}

// Few outputs are computed with pixels in the lanes, whatever phases there are.
func TestPlanarTranspose(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	ps := pools(t)
	relu := Activation{Kind: Relu}
	for i, c := range []struct {
		p       Params
		more    []int
		spatial []int
	}{
		{Params{In: 32, Out: 1, Kernel: []int{9, 9}, Stride: []int{4, 4}, Pads: []int{4, 4, 4, 4}}, []int{3, 3}, []int{5, 6}},
		{Params{In: 19, Out: 3, Kernel: []int{5, 6}, Stride: []int{3, 2}, Pads: []int{0, 2, 1, 1}, Act: relu}, []int{1, 0}, []int{7, 4}},
		{Params{In: 40, Out: 2, Kernel: []int{2, 2}, Stride: []int{2, 2}}, nil, []int{9, 17}},
		{Params{In: 8, Out: 1, Kernel: []int{2, 7}, Stride: []int{3, 3}}, []int{2, 2}, []int{6, 5}},
		{Params{In: 33, Out: 1, Kernel: []int{8, 8}, Stride: []int{4, 4}, Pads: []int{3, 3, 3, 3}}, nil, []int{1, 1}},
		{Params{In: 12, Out: 1, Kernel: []int{4, 4}, Stride: []int{3, 3}, Pads: []int{1, 0, 1, 3}}, nil, []int{1, 1}},
		{Params{In: 16, Out: 3, Kernel: []int{5, 5}, Stride: []int{2, 2}, Pads: []int{2, 2, 2, 2}, Act: Activation{Kind: Silu}}, []int{1, 1}, []int{31, 65}},
		{Params{In: 70, Out: 4, Kernel: []int{4, 4}, Stride: []int{2, 2}, Pads: []int{3, 4, 3, 4}}, nil, []int{20, 70}},
		{Params{In: 5, Out: 2, Kernel: []int{1, 6}, Stride: []int{1, 2}, Pads: []int{0, 2, 0, 2}}, nil, []int{1, 200}},
		{Params{In: 30, Out: 6, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Groups: 2}, []int{1, 0}, []int{11, 9}},
		{Params{In: 5, Out: 1, Kernel: []int{4, 4, 4}, Stride: []int{2, 2, 2}, Pads: []int{1, 1, 1, 1, 1, 1}}, nil, []int{5, 6, 7}},
		{Params{In: 6, Out: 6, Kernel: []int{3, 2, 5}, Stride: []int{2, 1, 4}, Pads: []int{0, 1, 2, 1, 0, 2}, Groups: 3, Act: relu}, []int{1, 0, 3}, []int{3, 4, 21}},
		{Params{In: 7, Out: 2, Kernel: []int{2, 2, 2}, Stride: []int{2, 2, 2}}, nil, []int{3, 9, 9}},
		{Params{In: 3, Out: 3, Kernel: []int{4, 4}, Stride: []int{4, 4}, Pads: []int{1, 1, 1, 1}}, nil, []int{1, 1}},
	} {
		p := TransposeParams{Params: c.p, OutputPadding: c.more}
		p.Groups = max(p.Groups, 1)
		out, err := p.OutSpatial(c.spatial)
		if err != nil {
			t.Fatal(err)
		}
		if full, _ := p.normalize(); full.planarFits(cpu.Generic) != (i != 3) { // in case 3 some phases have no taps
			t.Errorf("%v: planar is %v", p, full.planarFits(cpu.Generic))
		}
		testTranspose(t, rng, ps, p, c.spatial, out, 1+i%2)
	}
}
