package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

var errSeventeen = errors.New("seventeen")

func init() {
	op.Register(&op.Op{Domain: "test", Name: "Rowwise", Versions: []int{1}, In: op.Ports("a:T", "b:T?"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, InPlace: []int{0}, Rows: op.RowsBroadcast, Ref: nilRef,
		Compile: func(p *op.Prep) (op.Kernel, error) {
			b := 0
			if p.Has(1) {
				b = tensor.Count(p.InShape(1))
			}
			return &rowwise{tensor.Count(p.InShape(0)), b}, nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Sized", Versions: []int{1}, In: op.Ports("x:T", "sizes:int64"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Rows: func(_ *ir.Node, in []int) ([]int, bool) { return in[:1], true }, Ref: nilRef,
		Infer: func(c *op.Infer) error {
			sizes, _ := c.In[1].Dims()
			c.Set(0, c.In[0].DType, sizes)
			return nil
		},
		Compile: func(p *op.Prep) (op.Kernel, error) {
			dims := p.OutShape(0)
			return op.KernelFunc(func(c *op.Call) error {
				copy(c.Output(0, dtype.Float32, dims...).Data, c.In[0].Data)
				return nil
			}), nil
		}})
	op.Register(&op.Op{Domain: "test", Name: "Declines", Versions: []int{1}, In: op.Ports("x:T"), Out: op.Ports("y:T"),
		Types: op.Types{"T": op.Floats}, Infer: op.SameAsInput, Rows: op.RowsBroadcast, Compile: func(*op.Prep) (op.Kernel, error) { return nil, nil },
		Ref: func(c *op.Call) error {
			copy(c.Output(0, dtype.Float32, c.In[0].Shape...).Data, c.In[0].Data)
			return nil
		}})
}

// rowwise computes 1.25 a + b through its working memory. It was compiled for so many
// numbers. A row of 13 makes it panic, one of 17 fail.
type rowwise struct{ a, b int }

func (k *rowwise) ScratchBytes() int { return 4 * k.a }

func (k *rowwise) Run(c *op.Call) error {
	a, y, tmp := tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Out[0]), tensor.View[float32](c.Scratch)
	if len(a) != k.a || len(y) != k.a || len(tmp) < k.a || c.In[0].Len() != k.a {
		return fmt.Errorf("compiled for %d numbers, found %v and %v", k.a, c.In[0], c.Out[0])
	}
	switch a[0] {
	case 13:
		panic("thirteen")
	case 17:
		return errSeventeen
	}
	for i, v := range a {
		tmp[i] = 1.25 * v
	}
	if z := c.Input(1); z != nil {
		for i, v := range tensor.Of[float32](z) {
			tmp[i] += v
		}
	}
	copy(y, tmp[:k.a])
	return nil
}

// rowsGraph is a graph whose rows have wide numbers: a value that lives before, in and
// after what computes row by row, views, outputs within, and values that take over
// the memory of others.
func rowsGraph(t *testing.T, wide int, decline bool) *ir.Graph {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Const(wide)}})
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	before := b.node("Twice", x) // has no kernel
	v := b.node("Rowwise", before)
	middle := b.node("Rowwise", v, before)
	if decline {
		middle = b.node("Declines", middle)
	}
	v = b.node("Rowwise", middle, x)
	v = b.node("Rowwise", v, v)
	last := b.node("Rowwise", v, before)
	after := b.node("Plus", last, before)
	b.g.AddOutput("middle", middle)
	b.g.AddOutput("last", last)
	b.g.AddOutput("after", b.node("Flat", after))
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	return b.g
}

// sessions gives one that computes in a stretch and one that doesn't.
func sessions(t *testing.T, g *ir.Graph, threads int) (with, without *Session) {
	p := pool.New(threads)
	t.Cleanup(p.Close)
	with, without = New(g, Options{Pool: p}), New(g, Options{Pool: p})
	t.Cleanup(with.Close)
	t.Cleanup(without.Close)
	with.stretch, without.stretch = 1, 1<<62
	return with, without
}

// rows makes a batch that no cache holds.
func rows(n, wide int) []*tensor.Tensor {
	x := tensor.New(dtype.Float32, n, wide)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(i%1009) / 64
	}
	return []*tensor.Tensor{x}
}

func TestStretch(t *testing.T) {
	wide := cpu.Cache().L2/8 + 3
	for _, threads := range []int{1, 2, 3} {
		for _, n := range []int{2, 6, 7} {
			with, without := sessions(t, rowsGraph(t, wide, false), threads)
			in := rows(n, wide)
			p, err := with.PlanFor(in)
			if err != nil {
				t.Fatal(err)
			}
			if n > threads && (p.stretch == nil || p.stretch.first != 1 || p.stretch.end != 6 || p.stretch.rows != 1) {
				t.Fatalf("%d rows, %d threads: the stretch is %+v, expected steps 1 to 6", n, threads, p.stretch)
			}
			want, err := without.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				got, err := with.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				for i := range got {
					if !bytes.Equal(got[i].Data, want[i].Data) {
						t.Errorf("%d rows, %d threads: output %d differs", n, threads, i)
					}
				}
			}
		}
	}
}

func TestStretchRowsOfARound(t *testing.T) {
	for _, c := range [][4]int{{8, 2, 0, 1}, {8, 2, 3, 2}, {8, 2, 100, 4}, {8, 1, 5, 4}, {7, 2, 5, 1}, {2, 4, 9, 1}, {12, 2, 4, 4}} {
		if got := roundRows(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%d rows on %d threads, at most %d: a round has %d, expected %d", c[0], c[1], c[2], got, c[3])
		}
	}
}

// A step without a kernel computes the whole batch, and so does all else.
func TestStretchNeedsKernels(t *testing.T) {
	wide := cpu.Cache().L2 / 8
	with, without := sessions(t, rowsGraph(t, wide, true), 2)
	in := rows(6, wide)
	got, err := with.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := without.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := with.PlanFor(in); p.stretch != nil {
		t.Errorf("the stretch is %+v, expected none", p.stretch)
	}
	if !bytes.Equal(got[1].Data, want[1].Data) {
		t.Error("the outputs differ")
	}
}

// A step whose constant says how many rows there are computes the whole batch.
func TestStretchOfWholeSizes(t *testing.T) {
	wide := cpu.Cache().L2 / 8
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Of(6, wide)})
	b := builder{&ir.Graph{Inputs: []*ir.Value{x}}}
	v := b.node("Rowwise", b.node("Rowwise", b.node("Rowwise", x)))
	v = b.node("Sized", v, ir.NewConst("sizes", tensor.FromSlice([]int64{6, int64(wide)}, 2)))
	b.g.AddOutput("y", b.node("Rowwise", b.node("Rowwise", v)))
	if err := op.InferTypes(b.g); err != nil {
		t.Fatal(err)
	}
	with, without := sessions(t, b.g, 2)
	in := rows(6, wide)
	got, err := with.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	want, err := without.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := with.PlanFor(in); p.stretch == nil || p.stretch.end != 3 {
		t.Errorf("the stretch is %+v, expected steps 0 to 3", p.stretch)
	}
	if !bytes.Equal(got[0].Data, want[0].Data) {
		t.Error("the outputs differ")
	}
}

func TestStretchFailures(t *testing.T) {
	wide := cpu.Cache().L2 / 8
	with, without := sessions(t, rowsGraph(t, wide, false), 2)
	in := rows(6, wide)
	x := tensor.Of[float32](in[0])
	for row := range 6 {
		x[row*wide] = 13. / 2
		_, err := with.Run(context.Background(), in)
		var defect *PanicError
		if !errors.As(err, &defect) || defect.Node == "" || defect.Value != "thirteen" {
			t.Errorf("row %d: %v, expected a panic", row, err)
		}
		x[row*wide] = 17. / 2
		if _, err := with.Run(context.Background(), in); !errors.Is(err, errSeventeen) || !strings.Contains(err.Error(), "Rowwise") {
			t.Errorf("row %d: %v, expected %v of its node", row, err, errSeventeen)
		}
		x[row*wide] = 0
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := with.Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	got, err := with.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := without.Run(context.Background(), in)
	if !bytes.Equal(got[2].Data, want[2].Data) {
		t.Error("after failures the outputs differ")
	}
}

func TestStretchAllocatesNothingAndNeedsLess(t *testing.T) {
	wide := cpu.Cache().L2 / 8
	with, without := sessions(t, rowsGraph(t, wide, false), 2)
	in := rows(8, wide)
	out := make([]*tensor.Tensor, 3)
	run := func() {
		if err := with.RunInto(context.Background(), in, out); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(20, run); n > 0 {
		t.Errorf("%v allocations a run", n)
	}
	a, _ := with.PlanFor(in)
	b, err := without.PlanFor(in)
	if err != nil {
		t.Fatal(err)
	}
	if a.arenaBytes() >= b.arenaBytes() {
		t.Errorf("the arena has %d bytes in a stretch and %d without", a.arenaBytes(), b.arenaBytes())
	}
	_, times, err := with.Profile(context.Background(), in, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range times {
		if d <= 0 {
			t.Errorf("step %d of %d took %v", i, len(times), d)
		}
	}
	x, err := a.Isolate(2)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	k, err := x.Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if err := k.Run(); err != nil || x.Outputs()[0].Shape[0] != 1 {
		t.Errorf("alone the step computes %v: %v", x.Outputs()[0], err)
	}
}
