package upgrade

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
)

func parse(t *testing.T, opset int, body string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse("graph \"g\" {\n"+body+"}\n", opset)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": opset}
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

func TestAttributesBecomeInputs(t *testing.T) {
	g := parse(t, 9, `  input %x float32[2,3]
  %a = Unsqueeze(%x) {axes = [0]}
  %b = ReduceMean(%a) {axes = [2], keepdims = 1}
  %c = Clip(%b) {max = 2.0}
  %d = Pad(%c) {pads = [0, 0, 1, 0, 0, 0], value = 0.5}
  %e = Softmax(%d) {axis = 2}
  output %e
`)
	if err := Opset(g, 18); err != nil {
		t.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	want := `graph "g" {
  input %x float32[2,3]
  const %Unsqueeze_a_axes int64[1] = 0
  %a float32[1,2,3] = Unsqueeze(%x, %Unsqueeze_a_axes)
  const %ReduceMean_b_axes int64[1] = 2
  %b float32[1,2,1] = ReduceMean(%a, %ReduceMean_b_axes) {keepdims = 1, noop_with_empty_axes = 0}
`
	if got := g.String(); !strings.HasPrefix(got, want) || !strings.Contains(got, "%d float32[1,2,2] = Pad(%c, %Pad_d_pads, %Pad_d_value)") {
		t.Errorf("got\n%s", got)
	}
	for _, n := range g.Nodes {
		if n.Opset != 18 {
			t.Errorf("%s is of opset %d", n, n.Opset)
		}
	}
}

func TestWhatCantMoveIsNamed(t *testing.T) {
	for _, c := range []struct {
		from, to int
		body     string
		want     string
	}{
		{17, 13, "  input %x float32[2]\n  %y = Relu(%x)\n  output %y\n", "opset 13: the model has 17, and only newer opsets can be asked for"},
		{17, 99, "  input %x float32[2]\n  %y = Relu(%x)\n  output %y\n", "opset 99: the newest that is known is"},
		{11, 13, "  input %x float32[2,3,4]\n  %y = Softmax(%x)\n  output %y\n", `opset 13: Softmax "Softmax_y" is read otherwise there than at opset 11`},
		{9, 11, "  input %x float32[1,1,2,2]\n  const %s float32[4] = 1 1 2 2\n  %y = Upsample(%x, %s)\n  output %y\n", `Upsample "Upsample_y" is read otherwise there than at opset 9: it changes at opset 10`},
		{10, 13, "  input %x float32[1,1,2,2]\n  const %s float32[4] = 1 1 2 2\n  %y = Resize(%x, %s)\n  output %y\n", "its input 1 is another"},
	} {
		g := parse(t, c.from, c.body)
		err := Opset(g, c.to)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d to %d: got %v, want %q", c.from, c.to, err, c.want)
		}
		if g.Opsets[""] != c.from || g.Nodes[0].Opset != c.from {
			t.Errorf("%d to %d: the graph has changed", c.from, c.to)
		}
	}
}

// A Split into equal parts says from opset 18 on how many there are.
func TestSplitCountsItsOutputs(t *testing.T) {
	for _, opset := range []int{11, 13} {
		g := parse(t, opset, "  input %x float32[2,6]\n  %a, %b, %c = Split(%x) {axis = 1}\n  output %a\n  output %b\n  output %c\n")
		if err := Opset(g, 21); err != nil {
			t.Fatal(err)
		}
		if n := g.Nodes[0]; n.Int("num_outputs") != 3 || len(n.In) != 1 {
			t.Errorf("from opset %d: %s", opset, g)
		}
	}
}
