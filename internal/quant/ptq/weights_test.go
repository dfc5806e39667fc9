package ptq

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// Equal constants are one, also where passes would make different ones of them.
func TestShareConstants(t *testing.T) {
	g := network(t, 14, `  input %x float32[1,8,8,8]
  input %w1 float32[8,8,3,3]
  input %w2 float32[8,8,3,3]
  input %w3 float32[8,8,3,3]
  %a = Conv(%x, %w1) {pads = [1,1,1,1]}
  %b = Conv(%a, %w2) {pads = [1,1,1,1]}
  %c = Conv(%b, %w3) {pads = [1,1,1,1]}
  output %c
`)
	copy(g.Nodes[1].In[1].Const.Data, g.Nodes[0].In[1].Const.Data)
	before := ConstantBytes(g)
	shareConstants(g)
	if g.Nodes[0].In[1] != g.Nodes[1].In[1] || g.Nodes[0].In[1] == g.Nodes[2].In[1] {
		t.Error("the first two weights are equal, the third ones are others")
	}
	if after := ConstantBytes(g); 3*after != 2*before {
		t.Errorf("%d bytes of constants became %d, expected two thirds", before, after)
	}
}

// Weights in branches are stored in 8 bits, with names that may be the same in both.
func TestInside(t *testing.T) {
	text := `  input %x float32[2,64]
  input %c bool[]
  input %w1 float32[64,64]
  input %w2 float32[64,64]
  %y = If(%c) {else_branch = graph "else" {
      %a = MatMul(%x, %w1)
      output "out" %a
    }, then_branch = graph "then" {
      %a = MatMul(%x, %w2)
      %b = Relu(%a)
      output "out" %b
    }}
  output %y
`
	o := Options{}
	for name, quantize := range map[string]func(g *ir.Graph) (*ir.Graph, *report.Report, error){
		"static": func(g *ir.Graph) (*ir.Graph, *report.Report, error) {
			c, err := Calibrate(t.Context(), g, set{nil}, minmax, o, nil) // of which nothing is read
			if err != nil {
				return nil, nil, err
			}
			return Apply(g, c, o)
		},
		"dynamic": func(g *ir.Graph) (*ir.Graph, *report.Report, error) {
			g = g.Clone()
			rep, err := Dynamic(t.Context(), g, o)
			return g, rep, err
		},
	} {
		g := network(t, 13, text)
		q, rep, err := quantize(g)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(rep.Layers) != 2 || rep.BytesAfter > rep.BytesBefore/3 {
			t.Errorf("%s: %d layers, %d bytes became %d", name, len(rep.Layers), rep.BytesBefore, rep.BytesAfter)
		}
		q = reread(t, q)
		for _, branch := range []bool{false, true} {
			c := tensor.FromSlice([]bool{branch})
			in := []*tensor.Tensor{random(rand.New(rand.NewPCG(1, 9)), []int{2, 64}, 1), c.Reshape()}
			if db := worst(run(t, q, in), run(t, g, in)); db < 35 {
				t.Errorf("%s, branch %v: %.1f dB", name, branch, db)
			}
		}
	}
}
