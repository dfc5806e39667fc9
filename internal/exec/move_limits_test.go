package exec

import (
	"context"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// A plan that moves on to more work than one thread is enough for uses the pool, and
// leaves it again.
func TestPoolOfPlansThatMoveOn(t *testing.T) {
	workers := pool.New(2)
	defer workers.Close()
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("x2", b.node("Twice", x))
	s := New(b.g, Options{Pool: workers, Alone: 1e5})
	defer s.Close()
	for _, rows := range []int{2, 1e6, 3, 1e5} {
		if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, rows, 2)}); err != nil {
			t.Fatal(err)
		}
		if len(s.plans) != 1 || len(s.plans[0].idle) != 1 {
			t.Fatalf("%d rows: the plan has not moved on", rows)
		}
		for i, c := range s.plans[0].idle[0].calls {
			if (c.Pool != nil) != (rows >= 1e5) {
				t.Errorf("%d rows, step %d: uses the pool %v", rows, i, c.Pool != nil)
			}
		}
	}
}

// A plan that moves on keeps its arena where that is not much too large, but not if it
// would need more memory than allowed then and a new one doesn't.
func TestLimitOfPlansThatMoveOn(t *testing.T) {
	const row = 8
	x, y := vector("x"), vector("y")
	y.Type.Shape = shape.Shape{shape.Sym("m"), shape.Const(2)}
	b := builder{&ir.Graph{Inputs: []*ir.Value{x, y}}}
	b.g.AddOutput("x4", b.node("Twice", b.node("Twice", x)))
	b.g.AddOutput("y2", b.node("Twice", y))
	run := func(limit int, sizes ...int) (s *Session, err error) {
		s = New(b.g, Options{MaxMemory: limit})
		for i := 0; i < len(sizes); i += 2 {
			_, err = s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, sizes[i], 2), tensor.New(dtype.Float32, sizes[i+1], 2)})
		}
		return s, err
	}
	const mib = 1 << 20 / row
	fresh, err := run(0, 6*mib, 12*mib)
	if err != nil {
		t.Fatal(err)
	}
	p := fresh.plans[0].Memory()
	fresh.Close()
	if p.Arena < 6*mib*row {
		t.Fatalf("an arena of %d bytes doesn't test it", p.Arena)
	}
	s, err := run(p.Peak()+1<<20, 8*mib, mib, 6*mib, 12*mib)
	if err != nil {
		t.Errorf("a plan that fits is refused: %v", err)
	}
	s.Close()
}

// What a session says to hold is no less than what it has from the system.
func TestMemoryOfPlansThatMoveOn(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("x4", b.node("Twice", b.node("Twice", x)))
	s := New(b.g, Options{})
	defer s.Close()
	before := mmap.InUse()
	for _, rows := range []int{1000, 1 << 16, 1 << 15, 1 << 16, 1<<16 + 1<<13, 4, 1 << 20, 1 << 19} {
		for range 2 {
			if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, rows, 2)}); err != nil {
				t.Fatal(err)
			}
			if says, has := s.MemoryBytes(), mmap.InUse()-before; says < has {
				t.Errorf("%d rows: %d bytes are said to be held, but %d are", rows, says, has)
			}
		}
	}
}
