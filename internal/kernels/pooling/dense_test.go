package pooling

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// TestBandsAddInOrder compares bits with taps taken one by one.
func TestBandsAddInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	three := pool.New(3)
	defer three.Close()
	for _, c := range []struct {
		p        Params
		channels int
		spatial  []int
	}{
		{Params{Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 2}}, 5, []int{40, 40}},
		{Params{Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Ceil: true}, 3, []int{112, 111}},
		{Params{Kernel: []int{13, 7}, Pads: []int{6, 3, 6, 3}, CountIncludePad: true}, 2, []int{61, 300}},
		{Params{Kernel: []int{3, 4}, Stride: []int{3, 5}, Dilation: []int{2, 3}, Pads: []int{1, 2, 2, 1}, Ceil: true, CountIncludePad: true}, 2, []int{50, 90}},
		{Params{Kernel: []int{2, 2}, Stride: []int{3, 8}}, 2, []int{30, 80}},
		{Params{Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}, 3, []int{9, 131}},
		{Params{Kernel: []int{2, 3}, Stride: []int{1, 2}, Pads: []int{0, 2, 1, 2}, Dilation: []int{1, 2}, Ceil: true, CountIncludePad: true}, 3, []int{7, 263}},
		{Params{Kernel: []int{2, 2, 3}, Stride: []int{2, 1, 2}, Pads: []int{1, 0, 1, 0, 1, 1}}, 3, []int{5, 6, 87}},
		{Params{Kernel: []int{1, 1}, Stride: []int{2, 2}}, 2, []int{30, 31}},
		{Params{Kernel: []int{9}, Stride: []int{2}, Pads: []int{4, 4}}, 2, []int{30_001}},
		{Params{Kernel: []int{3, 20_000}, Pads: []int{0, 10, 0, 10}}, 1, []int{4, 20_005}},
		{Global(Average, []int{7, 9}), 21, []int{7, 9}},
		{Global(Average, []int{3, 5, 4}), 9, []int{3, 5, 4}},
	} {
		for _, kind := range []Kind{Max, Average} {
			c.p.Kind = kind
			plan, err := New(c.p, c.channels, c.spatial, cpu.Level(), false)
			if err != nil {
				t.Fatal(err)
			}
			x := guard.Slice[float32](t, plan.InSize(2), guard.End)
			for i := range x {
				x[i] = float32(rng.NormFloat64())
				if rng.IntN(30) == 0 {
					x[i] = []float32{0, float32(math.Copysign(0, -1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()), 1e-42}[rng.IntN(6)]
				}
			}
			slow := *plan
			slow.whole, slow.bandRows, slow.byRow = false, 0, rowPlan{}
			want := make([]float32, plan.OutSize(2))
			if err := slow.NewRunner().Run(nil, 2, x, want); err != nil {
				t.Fatal(err)
			}
			r := plan.NewRunner()
			for _, threads := range []*pool.Pool{nil, three} {
				got := guard.Slice[float32](t, plan.OutSize(2), guard.End)
				if err := r.Run(threads, 2, x, got); err != nil {
					t.Fatal(err)
				}
				for i, w := range want {
					// Of zeros of both signs, any is the maximum; of NaN, any is the sum.
					if g := got[i]; w != w && kind == Max {
						continue // not defined
					} else if math.Float32bits(g) != math.Float32bits(w) && !(g == 0 && w == 0 && kind == Max) && !(g != g && w != w) {
						t.Fatalf("%+v on %v: output %d is %g, want %g", c.p, c.spatial, i, g, w)
					}
				}
			}
			if a := testing.AllocsPerRun(3, func() { _ = r.Run(nil, 2, x, want) }); a != 0 {
				t.Errorf("%+v: %v allocations a run", c.p, a)
			}
		}
	}
}
