package exec

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	fragile := func(name string, ref func(*op.Call) error, compile func(*op.Prep) (op.Kernel, error)) {
		op.Register(&op.Op{Domain: "test", Name: name, Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"),
			Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, Ref: ref, Compile: compile})
	}
	work := func(c *op.Call) error {
		c.Pool.Run(8, fragileTask{tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, c.In[0].Shape...))})
		return nil
	}
	fragile("FragileReference", work, nil)
	fragile("FragileKernel", nilRef, func(*op.Prep) (op.Kernel, error) { return op.KernelFunc(work), nil })
	fragile("FragileCompile", nilRef, func(p *op.Prep) (op.Kernel, error) {
		if p.InShape(0)[0] == 13 {
			panic("thirteen")
		}
		return op.KernelFunc(work), nil
	})
	fragile("FragilePacking", nilRef, func(p *op.Prep) (op.Kernel, error) {
		p.Pack("weights", 4, func(b []byte) {
			if p.InShape(0)[0] == 13 {
				panic("thirteen")
			}
			b[0] = 1
		})
		return op.KernelFunc(work), nil
	})
}

func nilRef(*op.Call) error { return errors.New("the kernel should run") }

// fragileTask doubles numbers, but not thirteen.
type fragileTask struct{ x, y []float32 }

func (t fragileTask) Do(i int) {
	if t.x[0] == 13 && i == 5 {
		panic("thirteen")
	}
	if i == 0 {
		for j, v := range t.x {
			t.y[j] = 2 * v
		}
	}
}

func TestPanicsFailOneRun(t *testing.T) {
	for _, threads := range []int{1, 3} {
		for _, name := range []string{"FragileReference", "FragileKernel", "FragileCompile", "FragilePacking"} {
			x := vector("x")
			b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
			b.g.AddOutput("y", b.node("Twice", b.node(name, x)))
			s := b.session(t)
			p := pool.New(threads)
			s.pool = p
			run := func(v float32, rows int) (float32, error) {
				data := make([]float32, 2*rows)
				data[0] = v
				out, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice(data, rows, 2)})
				if err != nil {
					return 0, err
				}
				return tensor.Of[float32](out[0])[0], nil
			}
			var defect *PanicError
			_, err := run(13, 13)
			if !errors.As(err, &defect) || IsInputError(err) {
				t.Errorf("%s on %d threads: expected a PanicError, got %v", name, threads, err)
			} else if defect.Value != "thirteen" || !strings.Contains(err.Error(), name) || !strings.Contains(string(defect.Stack), "panic_test.go") {
				t.Errorf("%s on %d threads: got %v with the stack\n%s", name, threads, err, defect.Stack)
			}
			for range 3 {
				if got, err := run(2, 4); got != 8 || err != nil {
					t.Errorf("%s on %d threads: the run after a panic gave %v, %v; expected 8", name, threads, got, err)
				}
			}
			s.Close()
			p.Close()
		}
	}
}

func TestFramesAreNotReusedAfterAPanic(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", b.node("FragileKernel", x)))
	s := b.session(t)
	in := []*tensor.Tensor{tensor.FromSlice([]float32{1, 0}, 1, 2)}
	idle := func() int { return len(s.plans[0].idle) }
	if _, err := s.Run(context.Background(), in); err != nil || idle() != 1 {
		t.Fatalf("got %v and %d idle frames, expected 1", err, idle())
	}
	tensor.Of[float32](in[0])[0] = 13
	if _, err := s.Run(context.Background(), in); err == nil || idle() != 0 {
		t.Errorf("got %v and %d idle frames, expected an error and none", err, idle())
	}
}
