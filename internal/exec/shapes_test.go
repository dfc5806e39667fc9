package exec

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// chain makes a graph of n nodes with forks and views.
func chain(n int) *ir.Graph {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Const(2)}})
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	y, earlier := x, x
	name := []string{"Twice", "Plus", "Stateful"}
	for i := range n {
		v := ir.NewValue(fmt.Sprint("v", i), ir.Type{})
		in := []*ir.Value{y}
		if i%3 == 1 {
			in = append(in, earlier)
		}
		b.g.Nodes = append(b.g.Nodes, ir.NewNode("test", name[i%3], 1, in, []*ir.Value{v}, nil))
		y = v
		if i%7 == 0 {
			earlier = v
		}
	}
	b.g.AddOutput("y", y)
	return b.g
}

// inUse is the memory of the Go heap and of buffers outside it.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) + mmap.InUse()
}

func TestMemoryIsFlatOverManyShapes(t *testing.T) {
	g := chain(60)
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	s := New(g, Options{})
	defer s.Close()
	r := rand.New(rand.NewPCG(7, 7))
	run := func(n int) {
		if _, err := s.Run(context.Background(), []*tensor.Tensor{tensor.New(dtype.Float32, n, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	var after int64
	for i := range 1000 {
		run(1 + r.IntN(40000))
		if i == 99 {
			after = inUse()
		}
	}
	if grown := inUse() - after; grown > 8<<20 {
		t.Errorf("memory grew by %d bytes from the 100th to the 1000th shape", grown)
	}
	if len(s.plans) > 16 {
		t.Errorf("%d plans are kept", len(s.plans))
	}
}

// Plans of a large graph are bounded in bytes too.
func TestPlansAreBoundedInBytes(t *testing.T) {
	g := chain(20000)
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	s := New(g, Options{})
	defer s.Close()
	for n := range 6 {
		if _, err := s.PlanFor([]*tensor.Tensor{tensor.New(dtype.Float32, n+1, 2)}); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, p := range s.plans {
		total += p.ownBytes()
	}
	if total > maxPlanBytes || len(s.plans) < 1 || len(s.plans) > 5 {
		t.Errorf("%d plans of %d bytes in all", len(s.plans), total)
	}
}

// unary makes a graph of n nodes that all can work in place.
func unary(n int) *ir.Graph {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Const(2)}})
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	for i := range n {
		y := ir.NewValue(fmt.Sprint("v", i), ir.Type{})
		b.g.Nodes = append(b.g.Nodes, ir.NewNode("test", "Twice", 1, []*ir.Value{x}, []*ir.Value{y}, nil))
		x = y
	}
	b.g.AddOutput("y", x)
	return b.g
}

func BenchmarkPlanOf40000Nodes(b *testing.B) {
	b.Run("forks", func(b *testing.B) { benchmarkPlan(b, chain(40000)) })
	b.Run("in place", func(b *testing.B) { benchmarkPlan(b, unary(40000)) })
}

func benchmarkPlan(b *testing.B, g *ir.Graph) {
	if err := op.InferTypes(g); err != nil {
		b.Fatal(err)
	}
	n := 0
	s := New(g, Options{})
	defer s.Close()
	for b.Loop() {
		n++
		if _, err := s.PlanFor([]*tensor.Tensor{tensor.New(dtype.Float32, n, 2)}); err != nil {
			b.Fatal(err)
		}
	}
}
