package tune

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// network writes a model: a convolution of integers, one of 3×3 that Winograd's algorithm can
// compute, a pointwise one, and a product.
func network(t *testing.T) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	random := func(dims ...int) *tensor.Tensor {
		v := make([]float32, tensor.Count(dims))
		for i := range v {
			v[i] = float32(rng.NormFloat64()) / 8
		}
		return tensor.FromSlice(v, dims...)
	}
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32, Shape: shape.Shape{shape.Sym("n"), shape.Const(32), shape.Const(20), shape.Const(20)}})
	g := &ir.Graph{Name: "net", Inputs: []*ir.Value{x}, Opsets: map[string]int{"": 18}}
	node := func(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
		y := ir.NewValue(name+"_out", ir.Type{})
		n := ir.NewNode("", name, 18, in, []*ir.Value{y}, attrs)
		if err := op.Complete(n); err != nil {
			t.Fatal(err)
		}
		g.Nodes = append(g.Nodes, n)
		return y
	}
	quantized := func(v *ir.Value, scale float32) *ir.Value {
		s, zero := ir.NewConst("", tensor.Scalar(scale)), ir.NewConst("", tensor.Scalar[uint8](128))
		return node("DequantizeLinear", nil, node("QuantizeLinear", nil, v, s, zero), s, zero)
	}
	bytes := make([]int8, 32*32*3*3)
	for i := range bytes {
		bytes[i] = int8(rng.IntN(255) - 127)
	}
	w0 := node("DequantizeLinear", nil, ir.NewConst("w0", tensor.FromSlice(bytes, 32, 32, 3, 3)), ir.NewConst("", tensor.Scalar[float32](1./256)), ir.NewConst("", tensor.Scalar[int8](0)))
	y := quantized(node("Conv", map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}, quantized(x, 1./32), w0), 1./8)
	y = node("Conv", map[string]*ir.Attr{"pads": ir.Ints(1, 1, 1, 1)}, y, ir.NewConst("w1", random(32, 32, 3, 3)))
	y.Name = "three"
	y = node("Conv", nil, y, ir.NewConst("w2", random(48, 32, 1, 1)))
	y = node("GlobalAveragePool", nil, y)
	y = node("Flatten", nil, y)
	y = node("MatMul", nil, y, ir.NewConst("w3", random(48, 40)))
	g.AddOutput("y", y)
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "net.onnx")
	m := &onnx.Model{Graph: g, IRVersion: 8}
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// inputs makes n images, the first of which is always the same.
func inputs(n int) func(*ir.Graph) ([]*tensor.Tensor, error) {
	return func(*ir.Graph) ([]*tensor.Tensor, error) {
		rng := rand.New(rand.NewPCG(3, 4))
		v := make([]float32, n*32*20*20)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return []*tensor.Tensor{tensor.FromSlice(v, n, 32, 20, 20)}, nil
	}
}

func run(t *testing.T, path string, n, threads int, c *Cache) []float32 {
	t.Helper()
	p := pool.New(threads)
	defer p.Close()
	e, err := engine.Load(path, engine.Options{Level: pass.MaxLevel, Pool: p, Tuned: c.For})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	in, _ := inputs(n)(nil)
	out, err := e.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(tensor.Of[float32](out[0]))
}

func measure(t *testing.T, path string, n, threads int, o Options, c *Cache) *Report {
	t.Helper()
	p := pool.New(threads)
	defer p.Close()
	r, err := Measure(context.Background(), path, inputs(n), engine.Options{Level: pass.MaxLevel, Pool: p}, o, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMeasure(t *testing.T) {
	path := network(t)
	c := NewCache(ThisHost())
	last := 0
	o := Options{Seconds: 0.2, MaxError: 1e-3, Progress: func(n int) { last = n }}
	r := measure(t, path, 2, 2, o, c)
	if r.Measured != r.Layers || r.Layers < 3 || r.Error != 0 || last != 1000 {
		t.Errorf("%+v, progress %d", r, last)
	}
	if r.Dropped != "" { // a busy machine: nothing to replay
		t.Skip(r.Dropped)
	}
	for _, l := range c.layers {
		if l.Threads != 2 || len(l.Choices) == 0 || l.Choices["algorithm"] != "" {
			t.Errorf("%+v", l)
		}
	}
	for try := 0; r.Measured > 0; try++ { // what there was no time for before
		if r = measure(t, path, 2, 2, o, c); try > 15 {
			t.Fatalf("%d layers are measured again", r.Measured)
		}
	}
	want := run(t, path, 2, 1, nil)
	for _, threads := range []int{1, 2} {
		if got := run(t, path, 2, threads, c); !slices.Equal(got, want) {
			t.Errorf("the choices change bits on %d threads", threads)
		}
	}
}

// With an input of no elements there is nothing to measure.
func TestEmptyInput(t *testing.T) {
	_, err := Measure(t.Context(), network(t), inputs(0), engine.Options{Level: pass.MaxLevel}, Options{Seconds: 1, MaxError: 1e-3}, NewCache(ThisHost()))
	if err == nil || !strings.Contains(err.Error(), "holds no element") {
		t.Errorf("%v", err)
	}
}

// edited takes the option of the same number for every choice.
type edited struct {
	inner *recorder
	which int
}

func (e edited) Choose(p *op.Prep, c op.Choice) string {
	e.inner.Choose(p, c)
	if c.Arithmetic {
		return "" // the default
	}
	return c.Options[e.which%len(c.Options)]
}

// TestEveryOptionGivesTheSameBits takes the i-th option of all choices.
func TestEveryOptionGivesTheSameBits(t *testing.T) {
	path := network(t)
	in, _ := inputs(3)(nil)
	for _, level := range cpu.Levels()[1:] {
		t.Run(level.String(), func(t *testing.T) {
			defer cpu.Force(level)()
			want := run(t, path, 3, 1, nil)
			for which := range 7 {
				p := pool.New(2)
				defer p.Close()
				asked := &recorder{cache: NewCache(host), asked: map[*ir.Node]*group{}}
				e, err := engine.Load(path, engine.Options{Level: pass.MaxLevel, Pool: p, Tuned: func(*ir.Graph) op.Chooser { return edited{asked, which} }})
				if err != nil {
					t.Fatal(err)
				}
				out, err := e.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(tensor.Of[float32](out[0]), want) {
					t.Errorf("option %d changes bits", which)
				}
				if len(asked.asked) < 4 {
					t.Errorf("%d nodes have choices", len(asked.asked))
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestArithmeticIsTheModels: a choice that changes bits holds for every batch and
// number of threads, and for no other model.
func TestArithmeticIsTheModels(t *testing.T) {
	if cpu.Level() < cpu.AVX2 {
		t.Skip("the blocked layout's kernels are what has an algorithm to choose")
	}
	path := network(t)
	c := NewCache(ThisHost())
	e, err := engine.Load(path, engine.Options{Level: pass.MaxLevel})
	if err != nil {
		t.Fatal(err)
	}
	asked := &recorder{cache: c, asked: map[*ir.Node]*group{}}
	p := pool.New(1)
	defer p.Close()
	in, _ := inputs(1)(nil)
	with, err := engine.Load(path, engine.Options{Level: pass.MaxLevel, Pool: p, Tuned: asked.of})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := with.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	m := &Model{Model: Fingerprint(e.Graph()), Name: "net.onnx"}
	for _, g := range asked.asked {
		if slices.ContainsFunc(g.asked, func(c op.Choice) bool { return c.Arithmetic }) {
			m.Layers = append(m.Layers, Exact{g.exact, Choices{"algorithm": "winograd"}})
			if !strings.Contains(g.exact, "[*,") {
				t.Errorf("a layer names its batch: %s", g.exact)
			}
		}
	}
	if err := c.addModel(m); err != nil || len(m.Layers) != 1 {
		t.Fatalf("%v, %d layers have an algorithm", err, len(m.Layers))
	}
	plain, one := run(t, path, 1, 1, nil), run(t, path, 1, 1, c)
	if slices.Equal(plain, one) {
		t.Error("Winograd's algorithm gives the same bits: is it used?")
	}
	for _, n := range []int{1, 3} {
		for _, threads := range []int{1, 3} {
			if got := run(t, path, n, threads, c); !slices.Equal(got[:len(one)], one) {
				t.Errorf("a batch of %d on %d threads has other bits", n, threads)
			}
		}
	}
	c.models["other"] = m
	delete(c.models, m.Model)
	if !slices.Equal(run(t, path, 1, 1, c), plain) {
		t.Error("another model's choice counts")
	}
	for _, e := range []*engine.Engine{e, with} {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestMemoryAndToleranceBound(t *testing.T) {
	if cpu.Level() < cpu.AVX2 {
		t.Skip("without assembly the algorithms cost about the same")
	}
	path := network(t)
	for _, tt := range []struct {
		name     string
		memory   int
		maxError float64
	}{{"no memory", 1, 1e-3}, {"no tolerance", 1 << 30, 1e-12}} {
		c := NewCache(ThisHost())
		r := measure(t, path, 1, 1, Options{Seconds: 0.1, Memory: tt.memory, MaxError: tt.maxError}, c)
		if r.Error != 0 || r.MoreBytes > tt.memory {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
	r := measure(t, path, 1, 1, Options{Seconds: 0.3, Memory: 1 << 30, MaxError: 1e-3}, NewCache(ThisHost()))
	t.Logf("with both: deviation %.2g, %d bytes more, %d changed", r.Error, r.MoreBytes, r.Changed)
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	<-ctx.Done()
	_, err := Measure(ctx, network(t), inputs(1), engine.Options{Level: pass.MaxLevel}, Options{Seconds: 10, MaxError: 1e-3}, NewCache(host))
	if err == nil {
		t.Error("it goes on when its context is done")
	}
}
