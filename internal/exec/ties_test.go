package exec

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// tiedGraphs are a graph whose second input has as many rows as two sizes of the first
// add up to, and the same without that tie. They share a weight.
func tiedGraphs(t *testing.T) (tied, plain *ir.Graph) {
	t.Helper()
	a, b := shape.Sym("a"), shape.Sym("b")
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{a, b}})
	y := ir.NewValue("y", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("total"), shape.Const(2)}})
	make := builder{&ir.Graph{Inputs: []*ir.Value{x, y}}}
	make.g.AddOutput("out", make.node("Scaled", y, ir.NewConst("w", tensor.FromSlice([]float32{2}))))
	plain, tied = make.g, make.g.Clone()
	tied.Inputs[1].Type.Shape = shape.Shape{a.Add(b), shape.Const(2)}
	for _, g := range []*ir.Graph{tied, plain} {
		if err := op.InferTypes(g); err != nil {
			t.Fatal(err)
		}
	}
	return tied, plain
}

func tiedInputs(a, b, total int) []*tensor.Tensor {
	y := tensor.New(dtype.Float32, total, 2)
	tensor.Of[float32](y)[1] = 3
	return []*tensor.Tensor{tensor.New(dtype.Float32, a, b), y}
}

// Inputs that break a tie run in a session that is made once, shares what is packed, and
// keeps nobody waiting who asks for the memory meanwhile.
func TestSessionWithoutTies(t *testing.T) {
	tied, plain := tiedGraphs(t)
	var s *Session
	made := 0
	s = New(tied, Options{OwnConstants: true, Untied: func() (*ir.Graph, error) {
		made++
		s.MemoryBytes()
		return plain, nil
	}})
	defer s.Close()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			total := 4
			if i%2 == 1 {
				total = 6
			}
			out, err := s.Run(context.Background(), tiedInputs(1, 3, total))
			if err != nil {
				t.Error(err)
			} else if got := tensor.Of[float32](out[0])[1]; got != 6 {
				t.Errorf("%d rows: %v, expected 6", total, got)
			}
		})
	}
	all.Wait()
	if made != 1 {
		t.Errorf("%d sessions were made, expected 1", made)
	}
	if got := s.weights.bytes(); got != 4 {
		t.Errorf("%d bytes are packed, expected the 4 that both graphs read", got)
	}
	if got := s.MemoryBytes(); got < 4 || got > 1<<20 {
		t.Errorf("the session says that it holds %d bytes", got)
	}
}

// What goes wrong while the graph is made fails these runs, and no others.
func TestSessionWithoutTiesThatFails(t *testing.T) {
	for _, c := range []struct {
		name string
		make func() (*ir.Graph, error)
	}{
		{"broken", func() (*ir.Graph, error) { return nil, errors.New("it is broken") }},
		{"a defect", func() (*ir.Graph, error) { panic("a defect") }},
	} {
		tied, _ := tiedGraphs(t)
		s := New(tied, Options{Untied: c.make})
		for range 2 {
			if _, err := s.Run(context.Background(), tiedInputs(1, 3, 6)); err == nil || !strings.Contains(err.Error(), c.name) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if _, err := s.Run(context.Background(), tiedInputs(1, 3, 4)); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
