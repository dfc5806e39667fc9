package explain

import (
	"context"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

const floatGraph = `graph "f" {
  input %x float32[1,8]
  const %w float32[8,4] = …
  %h = MatMul(%x, %w)
  %y = Relu(%h)
  output %y
}
`

const quantizedGraph = `graph "q" {
  input %x float32[1,8]
  const %w float32[8,4] = …
  const %s float32[] = 0.125
  const %z int8[] = 0
  %x_QuantizeLinear_Output = QuantizeLinear(%x, %s, %z)
  %x_DequantizeLinear_Output = DequantizeLinear(%x_QuantizeLinear_Output, %s, %z)
  %h.1 = MatMul(%x_DequantizeLinear_Output, %w)
  %r = Relu(%h.1)
  %y_QuantizeLinear_Output = QuantizeLinear(%r, %s, %z)
  %y_DequantizeLinear_Output = DequantizeLinear(%y_QuantizeLinear_Output, %s, %z)
  output %y_DequantizeLinear_Output
}
`

func parse(t *testing.T, text string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse(text, 17)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// Values are found under the names that quantizers make of the original ones, and
// several samples count together.
func TestCompareGraphs(t *testing.T) {
	samples := list{}
	for i := range 3 {
		x := make([]float32, 8)
		for j := range x {
			x[j] = float32(math.Sin(float64(i*8 + j)))
		}
		samples = append(samples, []*tensor.Tensor{tensor.FromSlice(x, 1, 8)})
	}
	q, f := parse(t, quantizedGraph), parse(t, floatGraph)
	got, err := CompareGraphs(context.Background(), q, f, samples, exec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Value != "h" || got[1].Value != "y" || got[1].Op != "Relu" {
		t.Fatalf("%+v", got)
	}
	for _, d := range got {
		if d.SQNR < 15 || d.SQNR > 60 || d.Cosine < .98 || d.Cosine >= 1 || d.Max == 0 {
			t.Errorf("%+v", d)
		}
	}
	if len(q.Outputs) != 1 || len(f.Outputs) != 1 {
		t.Error("the probes left outputs behind")
	}
}

// list is a set of samples in memory.
type list [][]*tensor.Tensor

func (l list) Len() int                                              { return len(l) }
func (l list) At(_ context.Context, i int) ([]*tensor.Tensor, error) { return l[i], nil }

func TestTally(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	for _, c := range []struct {
		name      string
		got, want []float32
		db, cos   float64
		worst     float64
	}{
		{"equal", []float32{1, 2}, []float32{1, 2}, Exact, 1, 0},
		{"near", []float32{1, 2.1}, []float32{1, 2}, 26.99, .99982, .1},
		{"opposite", []float32{-3}, []float32{3}, -6.02, -1, 6},
		{"zero wanted", []float32{1}, []float32{0}, -Exact, 0, 1},
		{"masked", []float32{inf, nan, 1}, []float32{inf, nan, 1}, Exact, 1, 0},
		{"broken", []float32{nan, 1}, []float32{1, 1}, -Exact, 0, 0},
		{"empty", nil, nil, Exact, 1, 0},
	} {
		var a Tally
		a.Add(c.got, c.want)
		if math.Abs(a.SQNR()-c.db) > .01 || math.Abs(a.Cosine()-c.cos) > 1e-4 || math.Abs(a.MaxAbs()-c.worst) > 1e-6 {
			t.Errorf("%s: %g dB, cosine %g, %g", c.name, a.SQNR(), a.Cosine(), a.MaxAbs())
		}
	}
}
