package recover

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/explain"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/tensor"
)

// list is a set of samples in memory.
type list [][]*tensor.Tensor

func (l list) Len() int                                              { return len(l) }
func (l list) At(_ context.Context, i int) ([]*tensor.Tensor, error) { return l[i], nil }
func (l list) Label(int) (int, bool)                                 { return 0, false }

// samplesOf makes samples whose channels are correlated, have a mean, and some of which
// are outliers by a factor.
func samplesOf(n int, outlier float32, channels int, last bool, shape ...int) list {
	r := rand.New(rand.NewPCG(7, 8))
	var l list
	for range n {
		x := tensor.New(1, shape...)
		v := tensor.Of[float32](x)
		inner := 1
		if !last {
			inner = tensor.Count(shape[2:])
		}
		common := make([]float32, len(v)/channels+1)
		for i := range common {
			common[i] = float32(r.NormFloat64())
		}
		for i := range v {
			c := i / inner % channels
			at := i / channels
			if !last {
				at = i % inner
			}
			v[i] = .6*common[at] + .4*float32(r.NormFloat64()) + .3
			if c%7 == 3 {
				v[i] *= outlier
			}
		}
		l = append(l, []*tensor.Tensor{x})
	}
	return l
}

func parse(t *testing.T, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, 17)
	if err != nil {
		t.Fatal(err)
	}
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

func run(t *testing.T, g *ir.Graph, set list) []*tensor.Tensor {
	t.Helper()
	s := exec.New(g, exec.Options{})
	defer s.Close()
	var out []*tensor.Tensor
	for _, in := range set {
		y, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, y...)
	}
	return out
}

func ratio(got, want []*tensor.Tensor) float64 {
	var sum explain.Tally
	for i := range want {
		sum.Add(tensor.Of[float32](got[i]), tensor.Of[float32](want[i]))
	}
	return sum.SQNR()
}

// quantized gives the SQNR of the outputs of g in 8 bits against those that are wanted.
func quantized(t *testing.T, g *ir.Graph, set list, want []*tensor.Tensor, o ptq.Options) (*ir.Graph, float64) {
	t.Helper()
	watch := func() (calib.Observer, error) { return calib.New("minmax", calib.Options{}) }
	c, err := ptq.Calibrate(t.Context(), g, set, watch, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := ptq.Apply(g, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return q, ratio(run(t, q, set), want)
}

const convolutions = `graph "c" {
  input %x float32[1,8,9,9]
  const %w1 float32[16,8,3,3] = …
  const %b1 float32[16] = …
  const %w2 float32[16,1,3,3] = …
  const %b2 float32[16] = …
  const %w3 float32[10,16,1,1] = …
  %a = Conv(%x, %w1, %b1) {pads = [1, 1, 1, 1]}
  %ar = Relu(%a)
  %d = Conv(%ar, %w2, %b2) {group = 16, pads = [1, 1, 1, 1]}
  %dr = Relu(%d)
  %y = Conv(%dr, %w3)
  output %y
}
`

// unequal gives the channels of the first two convolutions very different ranges, in
// ways that cancel.
func unequal(g *ir.Graph) {
	for _, l := range layers(g)[1:] {
		s := findScaling(l.n.In[0], false, l.inputs())
		by := make([]float32, l.inputs())
		for i := range by {
			by[i] = float32(math.Exp2(float64(i*5%9) - 4))
		}
		s.divide(by)
		l.multiplyInputs(by)
	}
}

func TestEqualize(t *testing.T) {
	g, set := parse(t, convolutions), samplesOf(4, 1, 8, false, 1, 8, 9, 9)
	want := run(t, g, set)
	unequal(g)
	if db := ratio(run(t, g, set), want); db < 100 {
		t.Fatalf("scaling channels changed the outputs: %.1f dB", db)
	}
	o := ptq.Options{PerTensor: true}
	_, before := quantized(t, g, set, want, o)
	if n := Equalize(g); n != 2 {
		t.Errorf("%d pairs", n)
	}
	if db := ratio(run(t, g, set), want); db < 100 {
		t.Errorf("equalization changed the outputs: %.1f dB", db)
	}
	for _, l := range layers(g)[1:] {
		made, read := findScaling(l.n.In[0], false, 16).source.outputRanges(), l.inputRanges()
		for i := range made {
			if math.Abs(math.Log(float64(made[i]/read[i]))) > .05 {
				t.Errorf("%s: channel %d is made with %g and read with %g", l.n, i, made[i], read[i])
			}
		}
	}
	if _, after := quantized(t, g, set, want, o); after < before+6 {
		t.Errorf("%.1f dB became %.1f", before, after)
	}
}

const block = `graph "t" {
  input %x float32[4,28]
  const %g float32[28] = …
  const %h float32[28] = …
  const %wq float32[28,14] = …
  const %wk float32[28,14] = …
  const %bk float32[14] = …
  const %wd float32[14,21] = …
  %n = LayerNormalization(%x, %g, %h) {axis = -1, epsilon = 0.00001}
  %q = MatMul(%n, %wq)
  %k0 = MatMul(%n, %wk)
  %k = Add(%k0, %bk)
  %s = Sigmoid(%q)
  %m = Mul(%s, %k)
  %y = MatMul(%m, %wd)
  output %y
}
`

// SmoothQuant keeps what the graph computes, and wins where channels are outliers. It
// goes through a LayerNormalization, and through one factor of a product.
func TestSmooth(t *testing.T) {
	for _, alpha := range []float64{Search, .5} {
		g, set := parse(t, block), samplesOf(16, 1, 28, true, 4, 28)
		for _, l := range layers(g) { // outliers behind the normalization
			if l.n.In[0].Name != "n" {
				continue
			}
			by := make([]float32, 28)
			for i := range by {
				by[i] = 1
				if i%9 == 4 {
					by[i] = 1. / 60
				}
			}
			if s := findScaling(l.n.In[0], true, 28); l.n.In[1].Name == "wq" {
				s.divide(by)
			}
			l.multiplyInputs(by)
		}
		want := run(t, g, set)
		_, before := quantized(t, g, set, want, ptq.Options{})
		n, err := Smooth(t.Context(), g, set, alpha, nil)
		if err != nil || n < 1 {
			t.Fatalf("%d, %v", n, err)
		}
		if db := ratio(run(t, g, set), want); db < 100 {
			t.Errorf("smoothing changed the outputs: %.1f dB", db)
		}
		if _, after := quantized(t, g, set, want, ptq.Options{}); after < before+6 {
			t.Errorf("strength %v: %.1f dB became %.1f", alpha, before, after)
		}
	}
}

// Rounding by AdaRound and corrected biases come nearer to the outputs of the original,
// and AdaRound's weights are what ptq rounds them to.
func TestRounding(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        list
		o          ptq.Options
	}{
		{"convolutions", convolutions, samplesOf(6, 1, 8, false, 1, 8, 9, 9), ptq.Options{}},
		{"products", block, samplesOf(64, 1, 28, true, 4, 28), ptq.Options{}},
	} {
		plain := parse(t, c.text)
		want := run(t, plain, c.set)
		gains, err := AdaRound(t.Context(), plain, c.set, 200, nil, nil)
		if err != nil || len(gains) != len(layers(plain)) {
			t.Fatalf("%s: %v, %v", c.name, gains, err)
		}
		for name, gain := range gains {
			if gain < 1 {
				t.Errorf("%s, %s: the error is %.2f times what it was", c.name, name, 1/gain)
			}
		}
		weightsOnly := ratio(run(t, plain, c.set), want)
		nearest := parse(t, c.text)
		for _, l := range layers(nearest) {
			m := l.matrix()
			for i := 0; i < len(m); i += l.columns() {
				roundRow(m[i:][:l.columns()])
			}
			l.setMatrix(m)
		}
		t.Logf("%s: gains %v, weights alone %.1f dB, rounded to nearest %.1f dB", c.name, gains, weightsOnly, ratio(run(t, nearest, c.set), want))
		if weightsOnly < ratio(run(t, nearest, c.set), want)+1 {
			t.Errorf("%s: AdaRound wins less than 1 dB", c.name)
		}
		q, _ := quantized(t, plain, c.set, want, c.o)
		for name, w := range roundedWeights(q) {
			for _, l := range layers(plain) {
				if l.n.Name == name && ratio([]*tensor.Tensor{w}, []*tensor.Tensor{l.weights()}) < 90 {
					t.Errorf("%s, %s: rounded once more", c.name, name)
				}
			}
		}
	}
}

func TestBias(t *testing.T) {
	for _, c := range []struct {
		name, text string
		set        list
		corrected  int
	}{
		{"convolutions", convolutions, samplesOf(6, 1, 8, false, 1, 8, 9, 9), 3},
		{"products", block, samplesOf(64, 1, 28, true, 4, 28), 1},
	} {
		g := parse(t, c.text)
		want := run(t, g, c.set)
		o := ptq.Options{PerTensor: true}
		q, before := quantized(t, g, c.set, want, o)
		n, err := Bias(t.Context(), g, g.Clone(), q, c.set, nil, nil)
		if err != nil || n != c.corrected {
			t.Fatalf("%s: %d corrected, %v", c.name, n, err)
		}
		_, after := quantized(t, g, c.set, want, o)
		if after < before-.3 {
			t.Errorf("%s: %.2f dB became %.2f", c.name, before, after)
		}
		// Weights as they are rounded, and nothing else: the means of outputs come back.
		if corrected := meanError(run(t, withRounded(g, q), c.set), want); c.corrected == 3 && corrected > .5*meanError(run(t, withRounded(parse(t, c.text), q), c.set), want) {
			t.Errorf("%s: means are still off by %g", c.name, corrected)
		}
	}
}

// withRounded is g with the weights of a quantized graph.
func withRounded(g, q *ir.Graph) *ir.Graph {
	for _, l := range layers(g) {
		setConst(l.n, 1, roundedWeights(q)[l.n.Name])
	}
	return g
}

// meanError is by how much the mean of each channel, the second axis, is off, summed.
func meanError(got, want []*tensor.Tensor) (sum float64) {
	shape := want[0].Shape
	off := make([]float64, shape[1])
	for i := range want {
		w := tensor.Of[float32](want[i])
		for j, v := range tensor.Of[float32](got[i]) {
			off[j/tensor.Count(shape[2:])%shape[1]] += float64(v) - float64(w[j])
		}
	}
	for _, v := range off {
		sum += math.Abs(v)
	}
	return sum
}

// Patches times weights are what a convolution computes.
func TestPatches(t *testing.T) {
	for _, attrs := range []string{"{pads = [1, 2, 0, 1], strides = [2, 1]}", "{dilations = [2, 1], group = 2}", ""} {
		in := "8"
		if attrs != "" && attrs[1] == 'd' {
			in = "4"
		}
		g := parse(t, `graph "c" {
  input %x float32[2,8,7,6]
  const %w float32[6,`+in+`,3,2] = …
  %y = Conv(%x, %w) `+attrs+`
  output %y
}
`)
		set := samplesOf(1, 1, 8, false, 2, 8, 7, 6)
		y := run(t, g, set)[0]
		l := layers(g)[0]
		c, want := newPatches(l), tensor.Of[float32](y)
		each, area := l.outputs()/l.groups, tensor.Count(y.Shape[2:])
		for group := range l.groups {
			rows := c.rows(set[0][0], group, 1<<20)
			got, err := product(rows, l.matrix()[group*each*c.cols:][:each*c.cols], c.cols, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range got {
				place, o := i/each, group*each+i%each
				if w := want[(place/area*l.outputs()+o)*area+place%area]; math.Abs(float64(v-w)) > 1e-4 {
					t.Fatalf("%s: output %d at %d is %g, expected %g", attrs, o, place, v, w)
				}
			}
		}
	}
}
