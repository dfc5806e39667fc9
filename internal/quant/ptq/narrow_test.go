package ptq

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/tensor"
)

// Ranges end where the functions that read a value do not tell numbers apart.
func TestNarrowed(t *testing.T) {
	const begin = `  input %x float32[n,4,8,8]
  input %w1 float32[4,4,1,1]
  input %w2 float32[2,4,1,1]
  const %one float32[] = 1
  %a = Conv(%x, %w1)
`
	const end = `  %y = Conv(%s, %w2)
  output %y
`
	seen := quant.Range{Min: -40, Max: 10}
	for _, c := range []struct {
		name, body string
		lo, hi     [2]float64 // between which the ends are
	}{
		{"HardSwish", `  %s = HardSwish(%a)
`, [2]float64{-3.1, -2.9}, [2]float64{10, 10}},
		{"HardSigmoid", `  %s = HardSigmoid(%a)
`, [2]float64{-2.6, -2.4}, [2]float64{2.4, 2.6}},
		{"SiLU", `  %g = Sigmoid(%a)
  %s = Mul(%a, %g)
`, [2]float64{-9, -4}, [2]float64{9.9, 10}},
		{"Tanh", `  %s = Tanh(%a)
`, [2]float64{-4, -2}, [2]float64{2, 4}},
		{"a chain", `  %b = Add(%a, %one)
  %s = HardSwish(%b)
`, [2]float64{-4.1, -3.9}, [2]float64{10, 10}},
		{"read by others too", `  %h = HardSwish(%a)
  %s = Add(%a, %h)
  output %a
`, [2]float64{-40, -40}, [2]float64{10, 10}},
		{"read as it is", `  %s = Identity(%a)
`, [2]float64{-40, -40}, [2]float64{10, 10}},
		{"nearly flat", `  %s = LeakyRelu(%a)
`, [2]float64{-39, -37}, [2]float64{9.9, 10}},
	} {
		g := network(t, 14, begin+c.body+end)
		o, err := Options{}.complete()
		if err != nil {
			t.Fatal(err)
		}
		p := newPlan(g, &o, func(*ir.Value) bool { return true })
		a := g.Nodes[slices.IndexFunc(g.Nodes, func(n *ir.Node) bool { return n.Op == "Conv" })].Out[0]
		if r := p.narrowed(a, seen); r.Min < c.lo[0] || r.Min > c.lo[1] || r.Max < c.hi[0] || r.Max > c.hi[1] {
			t.Errorf("%s: %v, expected ends in %v and %v", c.name, r, c.lo, c.hi)
		}
	}
}

// Far numbers that a function makes one of do not cost levels.
func TestNarrowedHelps(t *testing.T) {
	g := network(t, 14, `  input %x float32[n,4,8,8]
  input %w1 float32[8,4,3,3]
  input %b1 float32[8]
  input %w2 float32[4,8,1,1]
  %a = Conv(%x, %w1, %b1)
  %s = HardSwish(%a)
  %y = Conv(%s, %w2)
  output %y
`)
	bias := tensor.Of[float32](g.Nodes[0].In[2].Const)
	bias[0], bias[1] = -60, -50 // channels that are off
	s := inputs(g, 4)
	c, err := Calibrate(context.Background(), g, s, minmax, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, _, err := Apply(g, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	least := math.Inf(1)
	for _, in := range s {
		least = math.Min(least, worst(run(t, q, in), run(t, g, in)))
	}
	if least < 33 {
		t.Errorf("%.1f dB", least)
	}
}
