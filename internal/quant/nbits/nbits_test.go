package nbits

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/tensor"
)

// encoder has every kind of layer: a table, products of the same input, of one
// with a normalization before it, a Gemm either way, a short last group, and one
// that is too small.
const encoder = `graph "encoder" {
  input %ids int64[n,5]
  input %w_table float32[40,96]
  input %w_gamma float32[96]
  input %w_beta float32[96]
  input %w_q float32[96,64]
  input %w_k float32[96,64]
  input %w_up float32[64,100]
  input %w_down float32[40,100]
  input %b_down float32[40]
  input %w_back float32[40,64]
  input %w_small float32[64,4]
  %e = Gather(%w_table, %ids)
  %x = LayerNormalization(%e, %w_gamma, %w_beta)
  %q = MatMul(%x, %w_q)
  %k = MatMul(%x, %w_k)
  %s = Mul(%q, %k)
  %t = Sigmoid(%s)
  %u = MatMul(%t, %w_up)
  %a = Relu(%u)
  %f = Flatten(%a) {axis=2}
  %d = Gemm(%f, %w_down, %b_down) {transB=1}
  %g = Gemm(%d, %w_back)
  %y = MatMul(%g, %w_small)
  output %y
  output %q
}
`

// network reads a graph in which inputs called w_… and b_… are constants.
func network(t testing.TB, text string, opset int, dt dtype.Type) *ir.Graph {
	t.Helper()
	if dt != dtype.Float32 {
		text = strings.ReplaceAll(text, "float32", dt.String())
	}
	g, err := ir.Parse(text, opset)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": opset}
	r := rand.New(rand.NewPCG(1, 2))
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *ir.Value) bool {
		if v.Name[1] != '_' {
			return false
		}
		dims, _ := v.Type.Shape.Ints()
		w := make([]float32, tensor.Count(dims))
		for i := range w {
			w[i] = float32(r.NormFloat64() / math.Sqrt(float64(dims[0])/2))
			if i%dims[len(dims)-1]%23 == 5 {
				w[i] *= 6
			}
		}
		c := tensor.FromSlice(w, dims...)
		if dt == dtype.Float16 {
			c = tensor.New(dt, dims...)
			for i, x := range w {
				tensor.Of[uint16](c)[i] = dtype.F32ToF16(x)
			}
		}
		v.MakeConst(c)
		return true
	})
	for _, n := range g.Nodes {
		if err := op.Complete(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	if err := ptq.Prepare(context.Background(), g, ptq.Options{}); err != nil {
		t.Fatal(err)
	}
	return g
}

// set is calibration data in memory.
type set [][]*tensor.Tensor

func (s set) Len() int                                              { return len(s) }
func (s set) At(_ context.Context, i int) ([]*tensor.Tensor, error) { return s[i], nil }
func (s set) Label(int) (int, bool)                                 { return 0, false }

func someSamples(seed uint64, n int) samples.Set {
	r := rand.New(rand.NewPCG(seed, 7))
	var s set
	for range n {
		ids := make([]int64, 3*5)
		for i := range ids {
			ids[i] = int64(r.IntN(40))
		}
		s = append(s, []*tensor.Tensor{tensor.FromSlice(ids, 3, 5)})
	}
	return s
}

// outputs runs an optimized copy of a graph.
func outputs(t testing.TB, g *ir.Graph, s samples.Set, p *pool.Pool) (all []float64) {
	t.Helper()
	g = g.Clone()
	if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel}); err != nil {
		t.Fatal(err)
	}
	session := exec.New(g, exec.Options{Pool: p})
	defer session.Close()
	for i := range s.Len() {
		in, _ := s.At(context.Background(), i)
		out, err := session.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range out {
			for _, v := range floatsOf(x) {
				all = append(all, float64(v))
			}
		}
	}
	return all
}

func decibels(want, got []float64) float64 {
	var signal, noise float64
	for i, x := range want {
		signal, noise = signal+x*x, noise+(x-got[i])*(x-got[i])
	}
	return 10 * math.Log10(signal/noise)
}

func count(g *ir.Graph, name string) (n int) {
	for _, node := range g.Nodes {
		if node.Op == name {
			n++
		}
	}
	return n
}

// Every form that is written is read back, and computes what it should.
func TestQuantize(t *testing.T) {
	held := someSamples(3, 6)
	int4 := weight.Scheme{Bits: 4, Group: 32}
	for _, c := range []struct {
		name  string
		o     Options
		op    string
		count int
		least float64 // dB
	}{
		{"4 bits", Options{Scheme: int4}, "MatMulNBits", 5, 15},
		{"4 bits, 8-bit activations", Options{Scheme: int4, AccuracyLevel: 4}, "MatMulNBits", 5, 15},
		{"4 bits, symmetric", Options{Scheme: weight.Scheme{Bits: 4, Group: 16, Symmetric: true}}, "MatMulNBits", 5, 15},
		{"4 bits, range", Options{Scheme: int4, MinMax: true}, "MatMulNBits", 5, 14},
		{"8 bits", Options{Scheme: weight.Scheme{Bits: 8, Group: 32}}, "MatMulNBits", 5, 38},
		{"2 bits", Options{Scheme: weight.Scheme{Bits: 2, Group: 16}}, "MatMulNBits", 5, 1.5},
		{"portable", Options{Scheme: int4, Portable: true}, "DequantizeLinear", 5, 15},
		{"portable, symmetric", Options{Scheme: weight.Scheme{Bits: 4, Group: 64, Symmetric: true}, Portable: true}, "DequantizeLinear", 4, 12},
		{"portable, 8 bits", Options{Scheme: weight.Scheme{Bits: 8}, Portable: true}, "DequantizeLinear", 5, 36},
		{"portable, 8 bits symmetric", Options{Scheme: weight.Scheme{Bits: 8, Group: 32, Symmetric: true}, Portable: true}, "DequantizeLinear", 5, 38},
		{"nf4", Options{Scheme: weight.Scheme{Kind: weight.NF4, Group: 32, Symmetric: true}}, "MatMulBnb4", 3, 13},
		{"float8", Options{Scheme: weight.Scheme{Kind: weight.E4M3, Symmetric: true}}, "DequantizeLinear", 5, 27},
		{"hqq", Options{Scheme: int4, Method: HQQ}, "MatMulNBits", 5, 14},
		{"hqq, portable", Options{Scheme: int4, Method: HQQ, Portable: true}, "DequantizeLinear", 5, 14},
		{"gptq", Options{Scheme: int4, Method: GPTQ, Samples: someSamples(1, 40)}, "MatMulNBits", 5, 18},
		{"gptq, act-order", Options{Scheme: int4, Method: GPTQ, ActOrder: true, Sequential: true, Samples: someSamples(1, 40)}, "MatMulNBits", 5, 18},
		{"gptq, little memory", Options{Scheme: int4, Method: GPTQ, Memory: 1, Samples: someSamples(1, 40)}, "MatMulNBits", 5, 18},
		{"awq", Options{Scheme: int4, Method: AWQ, Samples: someSamples(1, 40)}, "MatMulNBits", 5, 15},
		{"awq, sequential", Options{Scheme: int4, Method: AWQ, Sequential: true, Samples: someSamples(1, 40)}, "MatMulNBits", 5, 13},
		{"embeddings", Options{Scheme: weight.Scheme{Bits: 8, Group: 32}, Embeddings: true}, "GatherBlockQuantized", 1, 38},
		{"embeddings, 4 bits", Options{Scheme: weight.Scheme{Bits: 4, Group: 16, Symmetric: true}, Embeddings: true}, "GatherBlockQuantized", 1, 10},
		{"embeddings, zero points", Options{Scheme: weight.Scheme{Bits: 4, Group: 16}, Embeddings: true}, "GatherBlockQuantized", 1, 10},
		{"excluded", Options{Scheme: int4, Ops: []string{"MatMul"}, Exclude: []string{"MatMul_*"}}, "MatMulNBits", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := network(t, encoder, 17, dtype.Float32)
			want := outputs(t, g, held, nil)
			rep, err := Quantize(context.Background(), g, c.o)
			if c.count == 0 {
				if err == nil {
					t.Error("no error where all is excluded")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := count(g, c.op); n != c.count {
				t.Errorf("%d nodes are %s, expected %d", n, c.op, c.count)
			}
			read := throughFile(t, g)
			got := outputs(t, read, held, nil)
			if db := decibels(want, got); db < c.least {
				t.Errorf("%.1f dB, expected at least %g", db, c.least)
			} else {
				t.Logf("%.1f dB", db)
			}
			if rep.BytesAfter >= rep.BytesBefore || rep.Method == "" || len(rep.Layers) < c.count {
				t.Errorf("the report is %+v", rep)
			}
		})
	}
}

// throughFile writes a graph and reads it again.
func throughFile(t testing.TB, g *ir.Graph) *ir.Graph {
	t.Helper()
	var b bytes.Buffer
	if err := (&onnx.Model{Graph: g, IRVersion: 10}).Write(&b); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return m.Graph
}

// Nodes that share weights share what these become.
func TestShared(t *testing.T) {
	text := `graph "g" {
  input %ids float32[n,64]
  input %w_all float32[64,64]
  %a = MatMul(%ids, %w_all)
  %b = Relu(%a)
  %c = MatMul(%b, %w_all)
  %d = Sigmoid(%c)
  %e = Gemm(%d, %w_all) {transB=1}
  output %e
}
`
	r := rand.New(rand.NewPCG(1, 1))
	x := make([]float32, 96*64)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	data := set{{tensor.FromSlice(x, 96, 64)}}
	for _, o := range []Options{{Scheme: weight.Scheme{Bits: 8, Group: 32}}, {Scheme: weight.Scheme{Bits: 8, Group: 32}, Portable: true},
		{Scheme: weight.Scheme{Bits: 8, Group: 32}, Method: AWQ, Samples: data}, {Scheme: weight.Scheme{Kind: weight.NF4, Group: 32, Symmetric: true}}} {
		g := network(t, text, 17, dtype.Float32)
		want := outputs(t, g, data, nil)
		rep, err := Quantize(context.Background(), g, o)
		if err != nil {
			t.Fatal(err)
		}
		if db := decibels(want, outputs(t, throughFile(t, g), data, nil)); db < 15 {
			t.Errorf("%.1f dB", db)
		}
		if rep.BytesBefore != 2*4*64*64 || rep.Layers[1].Reason == "" {
			t.Errorf("%d bytes before, expected those of two matrices, one of them turned; %+v", rep.BytesBefore, rep.Layers[1])
		}
	}
}

// Models of float16 stay so: scales and zero points are float16.
func TestHalf(t *testing.T) {
	held := someSamples(3, 4)
	for _, o := range []Options{{Scheme: weight.Scheme{Bits: 4, Group: 32}, Method: HQQ}, {Scheme: weight.Scheme{Bits: 8, Group: 32, Symmetric: true}, Portable: true}} {
		g := network(t, encoder, 17, dtype.Float16)
		want := outputs(t, g, held, nil)
		if _, err := Quantize(context.Background(), g, o); err != nil {
			t.Fatal(err)
		}
		if db := decibels(want, outputs(t, throughFile(t, g), held, nil)); db < 12 {
			t.Errorf("%.1f dB", db)
		}
	}
}

// The result does not depend on threads.
func TestThreads(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	var text [2]bytes.Buffer
	for i, p := range []*pool.Pool{nil, p} {
		g := network(t, encoder, 17, dtype.Float32)
		if _, err := Quantize(context.Background(), g, Options{Scheme: weight.Scheme{Bits: 4, Group: 32}, Method: AWQ, Samples: someSamples(1, 20), Pool: p}); err != nil {
			t.Fatal(err)
		}
		if err := (&onnx.Model{Graph: g, IRVersion: 10}).Write(&text[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(text[0].Bytes(), text[1].Bytes()) {
		t.Error("three threads write another file than one")
	}
}

func TestRefused(t *testing.T) {
	int4 := weight.Scheme{Bits: 4, Group: 32}
	nan := set{{tensor.FromSlice(make([]int64, 15), 3, 5)}}
	for name, o := range map[string]Options{
		"no samples":         {Scheme: int4, Method: GPTQ},
		"3 bits":             {Scheme: weight.Scheme{Bits: 3, Group: 32}},
		"groups of 24":       {Scheme: weight.Scheme{Bits: 4, Group: 24}},
		"no groups":          {Scheme: weight.Scheme{Bits: 4}},
		"mxfp4":              {Scheme: weight.Scheme{Kind: weight.MXFP4, Group: 32, Symmetric: true}},
		"groups of float8":   {Scheme: weight.Scheme{Kind: weight.E4M3, Group: 32, Symmetric: true}},
		"symmetric HQQ":      {Scheme: weight.Scheme{Bits: 4, Group: 32, Symmetric: true}, Method: HQQ},
		"accuracy level 5":   {Scheme: int4, AccuracyLevel: 5},
		"portable tables":    {Scheme: int4, Portable: true, Embeddings: true},
		"a wrong pattern":    {Scheme: int4, Exclude: []string{"["}},
		"2 bits, portable":   {Scheme: weight.Scheme{Bits: 2, Group: 32}, Portable: true},
		"all too small":      {Scheme: weight.Scheme{Bits: 4, Group: 256}},
		"a damping below 0":  {Scheme: int4, Method: GPTQ, Damp: -1, Samples: nan},
		"samples of nothing": {Scheme: int4, Method: AWQ, Samples: set{}},
	} {
		g := network(t, encoder, 17, dtype.Float32)
		if _, err := Quantize(context.Background(), g, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Quantize(ctx, network(t, encoder, 17, dtype.Float32), Options{Scheme: int4}); err == nil {
		t.Error("it goes on when it is cancelled")
	}
}

// A budget holds, more of it never makes the result worse by much, and bits differ
// between layers.
func TestSpread(t *testing.T) {
	g := network(t, `graph "b" {
  input %xx float32[n,96]
  input %w_v float32[96,64]
  input %w_w float32[64,128]
  input %w_u float32[128,32]
  %aa = MatMul(%xx, %w_v)
  %bb = MatMul(%aa, %w_w)
  %yy = MatMul(%bb, %w_u)
  output %yy
}
`, 21, dtype.Float32)
	elems := float64(96*64 + 64*128 + 128*32)
	last := 0.
	for _, bits := range []float64{5.2, 6, 7.5, 9.2} {
		o := Options{Scheme: weight.Scheme{Kind: weight.Int, Bits: 4, Group: 32}}
		if err := Spread(t.Context(), g, &o, guard.Budget{Bits: bits}); err != nil {
			t.Fatalf("%g bits: %v", bits, err)
		}
		rep, err := Quantize(t.Context(), g.Clone(), o)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.
		for _, l := range rep.Layers {
			sum += l.SQNR
			if want := o.Bits[l.Name]; want == 0 || !strings.Contains(l.Precision, fmt.Sprint(want)) {
				t.Errorf("%g bits: %s is %s, chosen were %d", bits, l.Name, l.Precision, want)
			}
		}
		if float64(rep.BytesAfter)*8 > bits*elems*1.01+64*8 || sum < last-1 {
			t.Errorf("%g bits: %d bytes, %.1f dB in all, before it were %.1f", bits, rep.BytesAfter, sum, last)
		}
		last = sum
	}
	o := Options{Scheme: weight.Scheme{Kind: weight.Int, Bits: 4, Group: 32}}
	if err := Spread(t.Context(), g, &o, guard.Budget{Share: .01}); err == nil {
		t.Error("no error for a budget that is too small")
	}
}

// Weights that two products with other inputs share are not scaled for one of them.
func TestSharedWeightsAreNotScaled(t *testing.T) {
	g := network(t, `graph "shared" {
  input %in float32[n,64]
  input %w_both float32[64,64]
  %y = MatMul(%in, %w_both)
  %z = Relu(%y)
  %o = MatMul(%z, %w_both)
  output %o
}
`, 17, dtype.Float32)
	r := rand.New(rand.NewPCG(3, 4))
	var data set
	for range 12 {
		x := make([]float32, 64)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		data = append(data, []*tensor.Tensor{tensor.FromSlice(x, 1, 64)})
	}
	if _, err := Quantize(context.Background(), g, Options{Scheme: weight.Scheme{Bits: 4, Group: 32}, Method: AWQ, Samples: data}); err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if n.Is("Mul") {
			t.Errorf("an input is divided by scales that the shared weights do not have:\n%s", g)
		}
	}
}
