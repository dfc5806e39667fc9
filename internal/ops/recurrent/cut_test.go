package recurrent_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/optest"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// layer is a recurrent layer with inputs.
type layer struct {
	name                            string
	dirs, seq, batch, in, hidden    int
	lens, state, batchFirst, linear bool
}

var gates = map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}

func (l layer) inputs(rng *rand.Rand) []*tensor.Tensor {
	random := func(scale float64, dims ...int) *tensor.Tensor {
		v := make([]float32, tensor.Count(dims))
		for i := range v {
			v[i] = float32(scale * rng.NormFloat64())
		}
		return tensor.FromSlice(v, dims...)
	}
	g := gates[l.name] * l.hidden
	in := []*tensor.Tensor{random(1, l.seq, l.batch, l.in), random(.3, l.dirs, g, l.in), random(.1, l.dirs, g, l.hidden), random(.2, l.dirs, 2*g), nil, nil}
	if l.batchFirst {
		in[0].Shape = []int{l.batch, l.seq, l.in}
	}
	if l.lens {
		lens := make([]int32, l.batch)
		for i := range lens {
			lens[i] = int32(rng.IntN(l.seq + 1))
		}
		in[4] = tensor.FromSlice(lens, l.batch)
	}
	if l.state {
		in[5] = random(.5, l.dirs, l.batch, l.hidden)
		if l.batchFirst {
			in[5].Shape = []int{l.batch, l.dirs, l.hidden}
		}
	}
	return in
}

func (l layer) node(in []*tensor.Tensor) (*op.Op, *ir.Node, error) {
	attrs := map[string]*ir.Attr{"layout": ir.Int(0)}
	if l.dirs == 2 {
		attrs["direction"] = ir.Str("bidirectional")
	}
	if l.batchFirst {
		attrs["layout"] = ir.Int(1)
	}
	if l.linear {
		attrs["linear_before_reset"] = ir.Int(1)
	}
	vals := make([]*ir.Value, len(in))
	for i, t := range in {
		if t != nil {
			vals[i] = ir.NewValue(fmt.Sprint("in", i), ir.TypeOf(t))
		}
	}
	outs := []*ir.Value{ir.NewValue("y", ir.Type{}), ir.NewValue("h", ir.Type{})}
	n := ir.NewNode("", l.name, 14, vals, outs, attrs)
	err := op.Complete(n)
	return op.Find("", l.name, 14), n, err
}

// compute runs the layer's kernel and gives the sequence of outputs.
func compute(t *testing.T, o *op.Op, n *ir.Node, in []*tensor.Tensor, p *pool.Pool) *tensor.Tensor {
	t.Helper()
	prep := &op.Prep{Node: n, Threads: p.Threads(), Pack: func(_ string, bytes int, fill func([]byte)) []byte {
		b := tensor.Bytes(bytes)
		fill(b)
		return b
	}}
	for i, x := range in {
		var f op.Fact
		if x != nil {
			f = op.FactOf(ir.NewConst("", x))
		}
		if i == 0 || i >= 4 {
			f.Const = nil
		}
		prep.In = append(prep.In, f)
	}
	k, err := o.Compile(prep)
	if err != nil || k == nil {
		t.Fatalf("no kernel: %v", err)
	}
	call := &op.Call{Context: context.Background(), Node: n, In: in, Pool: p, Scratch: tensor.Bytes(k.(op.Scratcher).ScratchBytes())}
	for range 2 { // the second run finds what the first left
		for i := range call.Scratch {
			call.Scratch[i] = 0xff // NaN
		}
		call.Out = nil
		if err := k.Run(call); err != nil {
			t.Fatal(err)
		}
	}
	return call.Out[0]
}

var layers = []layer{
	{name: "LSTM", dirs: 1, seq: 5, batch: 1, in: 20, hidden: 256, state: true},
	{name: "LSTM", dirs: 2, seq: 4, batch: 3, in: 20, hidden: 160, lens: true},
	{name: "LSTM", dirs: 2, seq: 3, batch: 33, in: 9, hidden: 50, batchFirst: true, lens: true},
	{name: "GRU", dirs: 1, seq: 5, batch: 2, in: 7, hidden: 288, state: true, lens: true},
	{name: "GRU", dirs: 2, seq: 4, batch: 3, in: 7, hidden: 45, lens: true},
	{name: "GRU", dirs: 1, seq: 5, batch: 1, in: 7, hidden: 256, linear: true, batchFirst: true},
	{name: "GRU", dirs: 1, seq: 4, batch: 1, in: 7, hidden: 100, linear: true, state: true},
	{name: "GRU", dirs: 2, seq: 4, batch: 20, in: 7, hidden: 200, linear: true},
	{name: "LSTM", dirs: 1, seq: 4, batch: 1, in: 20, hidden: 100, state: true, lens: true},
	{name: "LSTM", dirs: 1, seq: 3, batch: 5, in: 20, hidden: 333},
	{name: "RNN", dirs: 1, seq: 3, batch: 17, in: 8, hidden: 800, batchFirst: true},
}

// TestCuts computes layers that are cut in different ways, by directions,
// sequences and columns, in one block of R and in two. All give the same bits, and
// what the reference gives within rounding.
func TestCuts(t *testing.T) {
	pools := []*pool.Pool{pool.New(2), pool.New(3), pool.New(8)}
	for _, p := range pools {
		defer p.Close()
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, l := range layers {
		in := l.inputs(rng)
		o, n, err := l.node(in)
		if err != nil {
			t.Fatal(err)
		}
		ref := &op.Call{Context: context.Background(), Node: n, In: in}
		if err := o.Ref(ref); err != nil {
			t.Fatal(err)
		}
		for _, level := range cpu.Levels() {
			restore := cpu.Force(level)
			want := compute(t, o, n, in, nil)
			if err := optest.Compare(want, ref.Out[0], 3e-5); err != nil {
				t.Errorf("%+v at %v: %v", l, level, err)
			}
			for _, p := range pools {
				if got := compute(t, o, n, in, p); !slices.Equal(got.Data, want.Data) {
					t.Errorf("%+v at %v: %d threads give other bits than one", l, level, p.Threads())
				}
			}
			restore()
		}
	}
}

// TestAloneAndTogether computes a sequence in a batch and by itself.
func TestAloneAndTogether(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{"LSTM", "GRU", "RNN"} {
		l := layer{name: name, dirs: 1, seq: 4, batch: 18, in: 6, hidden: 130, batchFirst: true}
		in := l.inputs(rng)
		o, n, err := l.node(in)
		if err != nil {
			t.Fatal(err)
		}
		all := tensor.Of[float32](compute(t, o, n, in, p))
		alone := slices.Clone(in)
		size := l.seq * l.in
		alone[0] = &tensor.Tensor{DType: dtype.Float32, Shape: []int{1, l.seq, l.in}, Data: in[0].Data[4*7*size : 4*8*size]}
		got := tensor.Of[float32](compute(t, o, n, alone, nil))
		if want := all[7*len(got) : 8*len(got)]; !slices.Equal(got, want) {
			t.Errorf("%s: a sequence alone has other bits than in a batch", name)
		}
	}
}
