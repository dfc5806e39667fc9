package blockq

import (
	"fmt"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// grouped makes products of one x, with biases, and what a gate makes of two.
func grouped(t *testing.T, packed []*Packed, x []float32, m int, prompt bool, threads int, gate func(y, z []float32)) (ys [][]float32) {
	t.Helper()
	workers := pool.New(threads)
	defer workers.Close()
	g := &Group{Gate: gate}
	for i, p := range packed {
		g.Tasks = append(g.Tasks, &Task{Product: Product{M: m, N: p.n, K: p.k, X: x, StrideX: p.k, Packed: p, Y: make([]float32, m*p.n), StrideY: p.n, Bias: noise(p.n, uint64(i)), Prompt: prompt}})
		ys = append(ys, g.Tasks[i].Y)
	}
	g.Scratch = kerneltest.Guarded(t, g.ScratchSize(threads))
	for range 2 {
		if err := g.Run(workers); err != nil {
			t.Fatal(err)
		}
	}
	if g.own != nil {
		t.Errorf("ScratchSize is %d bytes, and Run took %d of its own", len(g.Scratch), len(g.own))
	}
	return ys
}

// alone is one of the products of grouped.
func alone(t *testing.T, p *Packed, i int, x []float32, m int, prompt bool) []float32 {
	t.Helper()
	task := Task{Product: Product{M: m, N: p.n, K: p.k, X: x, StrideX: p.k, Packed: p, Y: make([]float32, m*p.n), StrideY: p.n, Bias: noise(p.n, uint64(i)), Prompt: prompt}}
	if err := task.Run(nil); err != nil {
		t.Fatal(err)
	}
	return task.Y
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i, v := range got {
		if !kerneltest.Same(v, want[i]) {
			t.Fatalf("%s: element %d is %v, alone %v", what, i, v, want[i])
		}
	}
}

// TestGroup compares products together with the same alone.
func TestGroup(t *testing.T) {
	const k = 512
	mixed := []struct {
		format block.Format
		n      int
	}{{block.Q4_K, 200}, {block.Q4_K, 48}, {block.Q6_K, 33}, {block.F16, 70}, {block.Q8_0, 1}}
	kerneltest.Levels(t, func(t *testing.T) {
		var packed []*Packed
		for i, f := range mixed {
			packed = append(packed, pack(t, f.format, f.n, k, randomRows(f.format, f.n, k, uint64(i))))
		}
		for _, m := range []int{1, 3, 9, 16, 40} {
			x := kerneltest.Floats(t, m*k, nil)
			for _, prompt := range []bool{false, true} {
				for _, threads := range []int{1, 2, 5} {
					for i, y := range grouped(t, packed, x, m, prompt, threads, nil) {
						sameBits(t, fmt.Sprintf("%d rows, prompt %v, %d threads, product %d", m, prompt, threads, i), y, alone(t, packed[i], i, x, m, prompt))
					}
				}
			}
		}
	})
}

func TestGate(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct {
			format  block.Format
			n, k, m int
		}{{block.Q4_0, 300, 64, 1}, {block.Q4_0, 1100, 64, 150}, {block.Q4_K, 37, 256, 16}, {block.Q6_K, 700, 256, 40}, {block.F16, 200, 40, 33}} {
			x := kerneltest.Floats(t, c.m*c.k, nil)
			packed := []*Packed{pack(t, c.format, c.n, c.k, randomRows(c.format, c.n, c.k, 1)), pack(t, c.format, c.n, c.k, randomRows(c.format, c.n, c.k, 2))}
			for _, prompt := range []bool{false, true} {
				y, z := alone(t, packed[0], 0, x, c.m, prompt), alone(t, packed[1], 1, x, c.m, prompt)
				for i := range y {
					y[i] = 2*y[i] - z[i]
				}
				for _, threads := range []int{1, 2, 5} {
					got := grouped(t, packed, x, c.m, prompt, threads, func(y, z []float32) {
						for i := range y {
							y[i] = 2*y[i] - z[i]
						}
					})
					sameBits(t, fmt.Sprintf("%v, %d×%d×%d, prompt %v, %d threads", c.format, c.m, c.n, c.k, prompt, threads), got[0], y)
				}
			}
		}
	})
}

func TestGroupRefuses(t *testing.T) {
	p, q := pack(t, block.Q8_0, 16, 64, randomRows(block.Q8_0, 16, 64, 1)), pack(t, block.Q4_0, 16, 64, randomRows(block.Q4_0, 16, 64, 1))
	x, other := noise(64, 1), noise(64, 2)
	task := func(p *Packed, x []float32) *Task {
		return &Task{Product: Product{M: 1, N: 16, K: 64, X: x, StrideX: 64, Packed: p, Y: make([]float32, 16), StrideY: 16}}
	}
	gate := func(y, z []float32) {}
	for name, g := range map[string]*Group{
		"no products":      {},
		"another x":        {Tasks: []*Task{task(p, x), task(p, other)}},
		"one with a gate":  {Tasks: []*Task{task(p, x)}, Gate: gate},
		"formats differ":   {Tasks: []*Task{task(p, x), task(q, x)}, Gate: gate},
		"a short x":        {Tasks: []*Task{task(p, x[:63]), task(p, x)}},
		"prompts and none": {Tasks: []*Task{{Product: Product{M: 1, N: 16, K: 64, X: x, StrideX: 64, Packed: p, Y: make([]float32, 16), StrideY: 16, Prompt: true}}, task(p, x)}},
	} {
		if err := g.Run(nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
