package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// Loops writes out a Loop that always runs the same few times.
var Loops = pass.Pass{
	Name: "unroll-loop", Level: 1, Portable: true,
	Doc:     "A Loop with a constant number of rounds, whose condition stays true, is replaced by its body once for each round if that is no more than 256 operators.",
	Rewrite: loops,
}

// mostUnrolled bounds the operators that take the place of a loop.
const mostUnrolled = 256

func loops(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Loop") || !n.IsLive() {
		return nil, nil
	}
	body := n.Attr("body").Graph
	states := len(n.In) - 2
	if body == nil || states < 0 || len(body.Inputs) != 2+states || len(body.Outputs) < 1+states || len(n.Out) > states {
		return nil, nil // with scan outputs, which are stacked
	}
	rounds, ok := rounds(n.In[0])
	if !ok || n.In[1] != nil && !alwaysTrue(n.In[1]) || !goesOn(body) {
		return nil, nil
	}
	if hasLoop(body) { // of which each copy might be unrolled in turn
		c.Near(n, "a loop within it stays")
		return nil, nil
	}
	if total := rounds * max(len(body.Nodes), 1); total > mostUnrolled {
		c.Near(n, "%d rounds of %d operators are more than %d", rounds, len(body.Nodes), mostUnrolled)
		return nil, nil
	}
	p := &ir.Patch{Reason: fmt.Sprintf("%s always runs %d times", n, rounds)}
	state := append([]*ir.Value(nil), n.In[2:]...)
	for round := range rounds {
		cp := copier{c: c, values: map[*ir.Value]*ir.Value{}}
		cp.values[body.Inputs[0]] = ir.NewConst(c.Name(body.Inputs[0].Name), tensor.Scalar(int64(round)))
		cp.values[body.Inputs[1]] = ir.NewConst(c.Name(body.Inputs[1].Name), tensor.Scalar(true))
		for i, v := range state {
			cp.values[body.Inputs[2+i]] = v
		}
		for _, m := range body.Nodes {
			p.Add = append(p.Add, cp.node(m))
		}
		for i := range state {
			state[i] = cp.value(body.Outputs[1+i].Value)
		}
	}
	for i, v := range n.Out {
		if v == nil || len(v.Uses()) == 0 && !v.IsOutput() {
			continue
		}
		if v.Type.DType != state[i].Type.DType && len(p.Add) == 0 {
			return nil, nil
		}
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: state[i]})
	}
	return p, nil
}

func hasLoop(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool { return n.Is("Loop") || slices.ContainsFunc(n.Subgraphs(), hasLoop) })
}

// rounds is the constant number of a loop's rounds, or 1<<30 if it is more.
func rounds(v *ir.Value) (int, bool) {
	if !v.IsConst() || v.Const.DType != dtype.Int64 || v.Const.Len() != 1 {
		return 0, false
	}
	n := tensor.Of[int64](v.Const)[0]
	return int(min(max(n, 0), 1<<30)), true
}

// alwaysTrue reports whether a condition is a constant that holds.
func alwaysTrue(v *ir.Value) bool {
	for v.Producer != nil && v.Producer.Is("Identity") {
		v = v.Producer.In[0]
	}
	return v.IsConst() && v.Const.DType == dtype.Bool && v.Const.Len() == 1 && v.Const.Data[0] != 0
}

// goesOn reports whether a body always asks for another round: what it was told is
// true, too.
func goesOn(body *ir.Graph) bool {
	v := body.Outputs[0].Value
	for v.Producer != nil && v.Producer.Is("Identity") {
		v = v.Producer.In[0]
	}
	return v == body.Inputs[1] || alwaysTrue(v)
}
