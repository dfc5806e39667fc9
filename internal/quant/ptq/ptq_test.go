package ptq

import (
	"bytes"
	"context"
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
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// set is calibration data in memory.
type set [][]*tensor.Tensor

func (s set) Len() int                                              { return len(s) }
func (s set) At(_ context.Context, i int) ([]*tensor.Tensor, error) { return s[i], nil }
func (s set) Label(int) (int, bool)                                 { return 0, false }

// network reads a graph in which inputs called w…, b… are weights and biases: they
// become random constants.
func network(t testing.TB, opset int, body string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse("graph \"g\" {\n"+body+"}\n", opset)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": opset}
	rng := rand.New(rand.NewPCG(1, 2))
	g.Inputs = slices.DeleteFunc(g.Inputs, func(v *ir.Value) bool {
		if v.Name[0] != 'w' && v.Name[0] != 'b' {
			return false
		}
		dims, _ := v.Type.Shape.Ints()
		w := random(rng, dims, 1)
		if v.Name[0] == 'w' { // as training leaves them: results keep their size
			per := max(1, w.Len()/dims[0])
			for i := range tensor.Of[float32](w) {
				tensor.Of[float32](w)[i] *= float32(1.7 / math.Sqrt(float64(per)))
			}
		}
		v.MakeConst(w)
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
	return g
}

func random(rng *rand.Rand, dims []int, scale float64) *tensor.Tensor {
	x := tensor.New(dtype.Float32, dims...)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(rng.NormFloat64() * scale)
	}
	return x
}

// inputs makes n samples of a graph's inputs; integers are small indices.
func inputs(g *ir.Graph, n int) set {
	rng := rand.New(rand.NewPCG(3, 4))
	var s set
	for range n {
		var in []*tensor.Tensor
		for _, v := range g.Inputs {
			dims := make([]int, len(v.Type.Shape))
			for i, d := range v.Type.Shape {
				k, ok := d.Int()
				if dims[i] = k; !ok {
					dims[i] = 2
				}
			}
			x := random(rng, dims, 1)
			if v.Type.DType == dtype.Int64 {
				x = tensor.New(dtype.Int64, dims...)
				for i := range tensor.Of[int64](x) {
					tensor.Of[int64](x)[i] = int64(rng.IntN(100))
				}
			}
			in = append(in, x)
		}
		s = append(s, in)
	}
	return s
}

func run(t testing.TB, g *ir.Graph, in []*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	s := exec.New(g, exec.Options{})
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatalf("%v\n%s", err, g)
	}
	for i := range out {
		out[i] = out[i].Clone()
	}
	return out
}

func worst(got, want []*tensor.Tensor) float64 {
	least := float64(report.Exact)
	for i := range want {
		signal, noise := 0.0, 0.0
		for j, w := range tensor.Of[float32](want[i]) {
			d := float64(tensor.Of[float32](got[i])[j]) - float64(w)
			signal, noise = signal+float64(w)*float64(w), noise+d*d
		}
		least = min(least, report.Decibels(signal, noise))
	}
	return least
}

func minmax() (calib.Observer, error) { return calib.New("minmax", calib.Options{}) }

// optimized counts the operators of a graph after all passes.
func optimized(t testing.TB, g *ir.Graph) (*ir.Graph, map[string]int) {
	t.Helper()
	g = g.Clone()
	if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel}); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, n := range g.Nodes {
		counts[strings.TrimPrefix(n.FullName(), "salver::")]++
	}
	return g, counts
}

// reread writes a graph as a file and reads it.
func reread(t testing.TB, g *ir.Graph) *ir.Graph {
	t.Helper()
	g = g.Clone()
	Lean(g)
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

var patterns = []struct {
	name  string
	body  string
	want  map[string]int // operators after all passes; those on integers
	float int            // DequantizeLinear that remain: at the ends
	sqnr  float64
}{
	{"convolutions", `  input %x float32[n,3,8,8]
  input %w1 float32[8,3,3,3]
  input %b1 float32[8]
  input %w2 float32[4,8,1,1]
  %a = Conv(%x, %w1, %b1) {pads = [1,1,1,1]}
  %r = Relu(%a)
  %y = Conv(%r, %w2)
  output %y
`, map[string]int{"QConv": 2, "Relu": 0}, 1, 30},
	{"depthwise, clipped", `  input %x float32[n,8,8,8]
  input %w1 float32[8,1,3,3]
  input %b1 float32[8]
  input %w2 float32[4,8,1,1]
  const %lo float32[] = 0
  const %hi float32[] = 1.5
  %a = Conv(%x, %w1, %b1) {group = 8}
  %r = Clip(%a, %lo, %hi)
  %y = Conv(%r, %w2)
  output %y
`, map[string]int{"QConv": 2, "Clip": 0}, 1, 30},
	{"residual", `  input %x float32[n,4,8,8]
  input %w1 float32[4,4,3,3]
  input %w2 float32[4,4,3,3]
  input %w3 float32[2,4,1,1]
  %a = Conv(%x, %w1) {pads = [1,1,1,1]}
  %r = Relu(%a)
  %c = Conv(%r, %w2) {pads = [1,1,1,1]}
  %s = Add(%c, %r)
  %t = Relu(%s)
  %y = Conv(%t, %w3)
  output %y
`, map[string]int{"QConv": 3, "Add": 0, "com.microsoft::QLinearAdd": 0}, 1, 28},
	{"joined", `  input %x float32[n,3,8,8]
  input %w1 float32[4,3,1,1]
  input %w2 float32[4,3,3,3]
  input %w3 float32[2,8,1,1]
  %a = Conv(%x, %w1)
  %r = Relu(%a)
  %b = Conv(%x, %w2) {pads = [1,1,1,1]}
  %s = Relu(%b)
  %c = Concat(%r, %s) {axis = 1}
  %y = Conv(%c, %w3)
  output %y
`, map[string]int{"QConv": 3, "Concat": 1, "QTable": 0}, 1, 30},
	{"joined with negative numbers", `  input %x float32[n,3,8,8]
  input %w1 float32[4,3,1,1]
  input %w2 float32[4,3,3,3]
  input %w3 float32[2,8,1,1]
  %a = Conv(%x, %w1)
  %r = Relu(%a)
  %b = Conv(%x, %w2) {pads = [1,1,1,1]}
  %c = Concat(%r, %b) {axis = 1}
  %y = Conv(%c, %w3)
  output %y
`, map[string]int{"QConv": 3, "Concat": 1, "Relu": 0}, 1, 30},
	{"moved", `  input %x float32[2,4,8,8]
  input %w1 float32[4,4,3,3]
  input %w2 float32[4,4,1,1]
  input %w3 float32[128,5]
  const %scales float32[4] = 1 1 2 2
  const %shape int64[2] = 2 128
  const %pads int64[8] = 0 0 1 1 0 0 1 1
  %a = Conv(%x, %w1) {pads = [1,1,1,1]}
  %m = MaxPool(%a) {kernel_shape = [2,2], strides = [2,2]}
  %p = Pad(%m, %pads)
  %u = Resize(%p, _, %scales) {mode = "nearest"}
  %c = Conv(%u, %w2)
  %t = Transpose(%c) {perm = [0,2,3,1]}
  %d = MaxPool(%c) {kernel_shape = [2,2], strides = [2,2]}
  %e = MaxPool(%d) {kernel_shape = [2,2], strides = [1,1], pads = [1,1,1,1]}
  %z = ReduceMean(%e) {axes = [2,3]}
  output %t
  output %z
`, map[string]int{"QConv": 2, "Pad": 1}, 2, 25},
	{"classifier", `  input %x float32[n,3,8,8]
  input %w1 float32[16,3,3,3]
  input %w2 float32[12,16]
  input %b2 float32[12]
  input %w3 float32[12,5]
  input %b3 float32[5]
  %a = Conv(%x, %w1)
  %r = Relu(%a)
  %m = GlobalAveragePool(%r)
  %f = Flatten(%m)
  %h = Gemm(%f, %w2, %b2) {transB = 1}
  %i = Relu(%h)
  %y = Gemm(%i, %w3, %b3)
  output %y
`, map[string]int{"QConv": 1, "QGlobalAveragePool": 1, "QMatMul": 1, "IntegerMatMul": 1}, 0, 28},
	{"products", `  input %x float32[n,7,32]
  input %w1 float32[32,64]
  input %w2 float32[64,16]
  input %b2 float32[16]
  %a = MatMul(%x, %w1)
  %r = Relu(%a)
  %m = MatMul(%r, %w2)
  %s = Add(%m, %b2)
  %y = Softmax(%s)
  output %y
`, map[string]int{"QMatMul": 1, "IntegerMatMul": 1}, 0, 30},
	{"functions", `  input %x float32[n,3,8,8]
  input %w1 float32[8,3,3,3]
  input %w2 float32[8,8,3,3]
  input %w3 float32[4,8,1,1]
  const %three float32[] = 3
  const %six float32[] = 6
  const %zero float32[] = 0
  %a = Conv(%x, %w1) {pads = [1,1,1,1]}
  %l = LeakyRelu(%a) {alpha = 0.1}
  %b = Conv(%l, %w2) {pads = [1,1,1,1]}
  %s = Sigmoid(%b)
  %i = Mul(%b, %s)
  %y = Conv(%i, %w3)
  output %y
`, map[string]int{"QConv": 3, "QTable": 2}, 1, 28},
	{"squeeze and excitation", `  input %x float32[n,3,8,8]
  input %w1 float32[8,3,3,3]
  input %w2 float32[4,8,1,1]
  input %w3 float32[8,4,1,1]
  input %w4 float32[4,8,1,1]
  %a = Conv(%x, %w1) {pads = [1,1,1,1]}
  %r = Relu(%a)
  %m = GlobalAveragePool(%r)
  %d = Conv(%m, %w2)
  %e = Relu(%d)
  %f = Conv(%e, %w3)
  %s = HardSigmoid(%f)
  %g = Mul(%r, %s)
  %y = Conv(%g, %w4)
  output %y
`, map[string]int{"QConv": 4, "QGlobalAveragePool": 1, "QTable": 1, "com.microsoft::QLinearMul": 1}, 1, 27},
	{"embedding", `  input %ids int64[n,6]
  input %w1 float32[100,64]
  input %w2 float32[64,16]
  %a = Gather(%w1, %ids) {axis = 0}
  %y = MatMul(%a, %w2)
  output %y
`, map[string]int{"IntegerMatMul": 1, "Gather": 2}, 0, 33},
	{"signal", `  input %x float32[n,3,32]
  input %w1 float32[8,3,5]
  input %b1 float32[8]
  input %w2 float32[8,8,3]
  input %w3 float32[4,8,1]
  %a = Conv(%x, %w1, %b1) {strides = [2], pads = [2,2]}
  %r = Relu(%a)
  %c = Conv(%r, %w2) {dilations = [2]}
  %y = Conv(%c, %w3)
  output %y
`, map[string]int{"QConv": 3, "Conv": 0}, 1, 28},
	{"enlarged", `  input %x float32[n,16,4,4]
  input %w1 float32[16,16,1,1]
  input %w2 float32[16,17,4,4]
  input %b2 float32[17]
  input %w3 float32[4,17,1,1]
  %a = Conv(%x, %w1)
  %t = ConvTranspose(%a, %w2, %b2) {strides = [2,2]}
  %y = Conv(%t, %w3)
  output %y
`, map[string]int{"QConv": 2}, 2, 27},
	{"states", `  input %x float32[5,n,24]
  input %w1 float32[24,32]
  input %w2 float32[2,128,32]
  input %w3 float32[2,128,32]
  %m = MatMul(%x, %w1)
  %y = LSTM(%m, %w2, %w3) {hidden_size = 32, direction = "bidirectional"}
  output %y
`, map[string]int{"IntegerMatMul": 1, "LSTM": 1}, 0, 27},
	{"first token", `  input %x float32[n,7,32]
  input %w1 float32[32,64]
  input %b1 float32[64]
  input %w2 float32[64,64]
  input %b2 float32[64]
  const %first int64[] = 0
  %m = MatMul(%x, %w1)
  %s = Softmax(%m)
  %c = Gather(%s, %first) {axis = 1}
  %g = Gemm(%c, %w2, %b2)
  %t = Tanh(%g)
  output %t
`, map[string]int{"IntegerMatMul": 2}, 0, 30},
	{"pieces", `  input %x float32[n,4,8,8]
  input %w1 float32[8,4,3,3]
  input %w2 float32[4,4,1,1]
  input %w3 float32[4,4,1,1]
  %a = Conv(%x, %w1) {pads = [1,1,1,1]}
  %p, %q = Split(%a) {axis = 1}
  %b = Conv(%p, %w2)
  %c = Conv(%q, %w3)
  %y = Add(%b, %c)
  output %y
`, map[string]int{"QConv": 3, "Split": 1}, 2, 28},
}

// TestPatterns quantizes small networks in every form: the answers are near, stay
// the same in a file, and operators on integers meet without floating point.
func TestPatterns(t *testing.T) {
	forms := []struct {
		name string
		o    Options
		less float64 // dB below what the pattern reaches
	}{
		{"qdq", Options{}, 0},
		{"qoperator", Options{Format: QOperator}, 0},
		{"contrib", Options{Format: QOperator, Contrib: true}, 0},
		{"symmetric int8", Options{Activations: dtype.Int8, Symmetric: true}, 6},
		{"int8", Options{Activations: dtype.Int8}, 0},
		{"uint8 weights", Options{Weights: dtype.Uint8, AsymmetricWeights: true}, 0},
		{"reduced", Options{ReduceRange: true}, 6},
		{"one scale", Options{PerTensor: true}, 6},
		{"int16", Options{Activations: dtype.Uint16}, -5},
	}
	for _, p := range patterns {
		t.Run(p.name, func(t *testing.T) {
			g := network(t, 13, p.body)
			s := inputs(g, 4)
			want := run(t, g, s[0])
			if err := Prepare(context.Background(), g, Options{}); err != nil {
				t.Fatal(err)
			}
			before := g.String()
			c, err := Calibrate(context.Background(), g, s, minmax, Options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range forms {
				q, rep, err := Apply(g, c, f.o)
				if err != nil {
					t.Fatalf("%s: %v", f.name, err)
				}
				if len(rep.Layers) == 0 || rep.BytesAfter >= rep.BytesBefore {
					t.Errorf("%s: the report has %d layers, %d of %d bytes", f.name, len(rep.Layers), rep.BytesAfter, rep.BytesBefore)
				}
				got := run(t, q, s[0])
				if db := worst(got, want); db < p.sqnr-f.less {
					t.Errorf("%s: %.1f dB, expected %.1f", f.name, db, p.sqnr-f.less)
				}
				if db := worst(run(t, reread(t, q), s[0]), got); db < report.Exact {
					t.Errorf("%s: the file differs by %.1f dB", f.name, db)
				}
				fast, counts := optimized(t, q)
				if db := worst(run(t, fast, s[0]), got); db < 35 { // single units at ties
					t.Errorf("%s: passes change the answer to %.1f dB", f.name, db)
				}
				if f.name != "qdq" {
					continue
				}
				if rep.Layers[0].Op != "Gather" && rep.Layers[0].Range == nil {
					t.Errorf("the report has no range for %s", rep.Layers[0].Name)
				}
				for name, n := range p.want {
					if counts[name] != n {
						t.Errorf("%s: %d × %s, expected %d\n%v", f.name, counts[name], name, n, counts)
					}
				}
				if n := counts["DequantizeLinear"]; n > p.float {
					t.Errorf("%s: %d × DequantizeLinear remain, expected %d at most\n%s", f.name, n, p.float, fast)
				}
			}
			if g.String() != before {
				t.Error("Apply has changed the prepared graph")
			}
		})
	}
}

// TestKeep leaves nodes as they are, or raises them, from one calibration.
func TestKeep(t *testing.T) {
	g := network(t, 13, patterns[2].body)
	s := inputs(g, 4)
	if err := Prepare(context.Background(), g, Options{}); err != nil {
		t.Fatal(err)
	}
	want := run(t, g, s[0])
	c, err := Calibrate(context.Background(), g, s, minmax, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var convs []string
	for _, n := range g.Nodes {
		if n.Op == "Conv" {
			convs = append(convs, n.Name)
		}
	}
	last := 0.0
	for i := range convs {
		o := Options{Keep: map[string]Precision{}}
		for _, name := range convs[:i] {
			o.Keep[name] = Float32
		}
		q, rep, err := Apply(g, c, o)
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, l := range rep.Layers {
			if l.Precision == "float32" && l.Reason == "kept" {
				kept++
			}
		}
		db := worst(run(t, q, s[0]), want)
		if kept != i || db < last {
			t.Errorf("with %d of %d layers kept %d are reported, %.1f dB after %.1f", i, len(convs), kept, db, last)
		}
		last = db
	}
	all := Options{Keep: map[string]Precision{}}
	for _, name := range convs {
		all.Keep[name] = Int16
	}
	q, rep, err := Apply(g, c, all)
	if err != nil {
		t.Fatal(err)
	}
	if db := worst(run(t, q, s[0]), want); db < 38 || rep.Layers[0].Precision != "int16" {
		t.Errorf("16 bits: %.1f dB, %s", db, rep.Layers[0].Precision)
	}
	if _, _, err := Apply(g, c, Options{Exclude: []string{"*"}}); err == nil || !strings.Contains(err.Error(), `excluded by "*"`) {
		t.Errorf("all excluded: %v", err)
	}
}

// TestBiasesBeyondInt32 has channels without weights, and with tiny ones, whose
// biases would not fit.
func TestBiasesBeyondInt32(t *testing.T) {
	g := network(t, 13, patterns[0].body)
	for _, n := range g.Nodes {
		if n.Op != "Conv" || n.Input(2) == nil {
			continue
		}
		w, b := tensor.Of[float32](n.In[1].Const), tensor.Of[float32](n.In[2].Const)
		per := len(w) / len(b)
		for i := range per {
			w[i], w[per+i] = 0, w[per+i]*1e-9
		}
		b[0], b[1] = 3.7, -2.9
		b[2] = 0
	}
	for _, perTensor := range []bool{false, true} {
		s := inputs(g, 3)
		want := run(t, g, s[0])
		p := g.Clone()
		if err := Prepare(context.Background(), p, Options{}); err != nil {
			t.Fatal(err)
		}
		c, err := Calibrate(context.Background(), p, s, minmax, Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		q, _, err := Apply(p, c, Options{PerTensor: perTensor})
		if err != nil {
			t.Fatal(err)
		}
		q, counts := optimized(t, q)
		if db := worst(run(t, q, s[0]), want); db < 28 || counts["QConv"] != 2 {
			t.Errorf("one scale %v: %.1f dB, %v", perTensor, db, counts)
		}
	}
}

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	relu := network(t, 13, "  input %x float32[2]\n  %y = Relu(%x)\n  output %y\n")
	if _, err := Calibrate(ctx, relu, inputs(relu, 1), minmax, Options{}, nil); err == nil || !strings.Contains(err.Error(), "nothing can be quantized") {
		t.Errorf("nothing to quantize: %v", err)
	}
	if _, err := Dynamic(ctx, relu.Clone(), Options{}); err == nil || !strings.Contains(err.Error(), "nothing can be quantized") {
		t.Errorf("nothing to quantize: %v", err)
	}
	empty := network(t, 13, "  input %x float32[2,3]\n  input %w float32[3,0]\n  %y = MatMul(%x, %w)\n  output %y\n")
	if _, err := Calibrate(ctx, empty, inputs(empty, 1), minmax, Options{}, nil); err == nil || !strings.Contains(err.Error(), "nothing can be quantized") {
		t.Errorf("no weights: %v", err)
	}
	g := network(t, 13, patterns[0].body)
	if _, err := Calibrate(ctx, g, set{}, minmax, Options{}, nil); err == nil || !strings.Contains(err.Error(), "no samples") {
		t.Errorf("no samples: %v", err)
	}
	bad := inputs(g, 2)
	tensor.Of[float32](bad[1][0])[5] = float32(math.NaN())
	if _, err := Calibrate(ctx, g, bad, minmax, Options{}, nil); err == nil || !strings.Contains(err.Error(), "sample 1") {
		t.Errorf("NaN: %v", err)
	}
	c, err := Calibrate(ctx, g, inputs(g, 1), minmax, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := Apply(g, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Prepare(ctx, q, Options{}); err == nil || !strings.Contains(err.Error(), "quantized already") {
		t.Errorf("twice: %v", err)
	}
	for _, o := range []Options{{Activations: dtype.Float32}, {Weights: dtype.Int16}, {Exclude: []string{"["}}, {ReduceRange: true, Weights: dtype.Uint8}} {
		if _, _, err := Apply(g, c, o); err == nil {
			t.Errorf("no error for %+v", o)
		}
	}
	stop, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Calibrate(stop, g, inputs(g, 2), minmax, Options{}, nil); err == nil {
		t.Error("no error after the context's end")
	}
}

// TestConstantActivations quantizes what never changes.
func TestConstantActivations(t *testing.T) {
	g := network(t, 13, patterns[0].body)
	s := inputs(g, 2)
	for _, in := range s {
		clear(in[0].Data)
	}
	want := run(t, g, s[0])
	c, err := Calibrate(context.Background(), g, s, minmax, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := Apply(g, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if db := worst(run(t, q, s[0]), want); db < 30 {
		t.Errorf("%.1f dB", db)
	}
}
