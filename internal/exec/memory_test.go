package exec

import (
	"context"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/tensor"
)

// What other sessions hold counts against the limit of a new run.
func TestMemoryIsShared(t *testing.T) {
	const mib = 1 << 20
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", b.node("Twice", x))) // one value in the arena
	limit := int(mmap.InUse()) + 24*mib
	s := New(b.g, Options{MaxMemory: limit})
	defer s.Close()
	run := func() error {
		_, err := s.Run(context.Background(), []*tensor.Tensor{tensor.FromSlice(make([]float32, mib), mib/2, 2)})
		return err
	}
	others := mmap.Alloc(22 * mib)
	if err := run(); !IsMemoryError(err) || !strings.Contains(err.Error(), "a run with these inputs needs 4.0 MiB beside the 22.") {
		t.Errorf("beside others: %v", err)
	}
	others.Free()
	if err := run(); err != nil {
		t.Errorf("alone: %v", err)
	}
}

// Large outputs are made where the caller says, others are not.
func TestRunWith(t *testing.T) {
	x := vector("x")
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	b.g.AddOutput("y", b.node("Twice", x))
	b.g.AddOutput("same", x)
	s := b.session(t)
	for rows, asked := range map[int]int{2: 0, LargeOutput / 8: 1} {
		in := tensor.FromSlice(make([]float32, 2*rows), rows, 2)
		tensor.Of[float32](in)[1] = 3
		var given []byte
		calls := 0
		out := make([]*tensor.Tensor, 2)
		err := s.RunWith(context.Background(), []*tensor.Tensor{in}, out, func(n int) []byte {
			given = make([]byte, n)
			calls++
			return given
		})
		if err != nil || calls != asked || tensor.Of[float32](out[0])[1] != 6 {
			t.Errorf("%d rows: asked for memory %d times, expected %d: %v", rows, calls, asked, err)
		}
		if asked > 0 && &out[0].Data[0] != &given[0] {
			t.Errorf("%d rows: the output is elsewhere", rows)
		}
	}
}
