package clean

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// Common merges nodes that compute the same.
var Common = pass.Pass{
	Name: "merge-common", Level: 1, Portable: true,
	Doc:     "Merges nodes with the same operator, attributes and inputs (common subexpressions); small equal constants count as the same input.",
	Rewrite: common,
}

// common keeps, for one sweep, the first node of each kind.
func common(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	o := op.Of(n)
	if o == nil || o.Random || len(n.Subgraphs()) > 0 {
		return nil, nil
	}
	k, ok := key(n)
	if !ok {
		return nil, nil
	}
	first, seen := c.Memo[k].(*ir.Node)
	if !seen || first.Removed() {
		c.Memo[k] = n
		return nil, nil
	}
	p := &ir.Patch{Reason: fmt.Sprintf("%s computes the same as %s", n, first)}
	for i, v := range n.Out {
		if v == nil || len(v.Uses()) == 0 && !v.IsOutput() {
			continue
		}
		w := first.Output(i)
		if w == nil {
			return nil, nil
		}
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: w})
	}
	if len(p.Replace) == 0 {
		return nil, nil
	}
	return p, nil
}

// key writes what a node computes. Nodes with attributes that have no short
// text are not compared.
func key(n *ir.Node) (string, bool) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%d/%d(", n.FullName(), n.Opset, len(n.Out))
	for _, v := range n.In {
		switch {
		case v == nil:
			b.WriteString("_,")
		case v.Const != nil && len(v.Const.Data) <= smallConst && v.Const.Strings == nil:
			fmt.Fprintf(&b, "%s=%x,", v.Const, v.Const.Data)
		default:
			fmt.Fprintf(&b, "%p,", v)
		}
	}
	names := make([]string, 0, len(n.Attrs))
	for name := range n.Attrs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		a := n.Attrs[name]
		switch a.Kind {
		case ir.KindTensor:
			if !smallTensor(a.Tensor) {
				return "", false
			}
			fmt.Fprintf(&b, " %s=%s %x", name, a.Tensor, a.Tensor.Data)
		case ir.KindGraph, ir.KindGraphs, ir.KindTensors, ir.KindType:
			return "", false
		default:
			fmt.Fprintf(&b, " %s=%d %v %q %v %v %q", name, a.Int, a.Float, a.Str, a.Ints, a.Floats, a.Strs)
		}
	}
	return b.String(), true
}

// smallConst bounds the constants that are compared by their bytes.
const smallConst = 256

func smallTensor(t *tensor.Tensor) bool { return len(t.Data) <= smallConst && t.Strings == nil }
