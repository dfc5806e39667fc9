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

// group is where nodes that may compute the same meet: readers of one value.
type group struct {
	op    string
	value *ir.Value // the first input that is no constant
}

// members are the nodes of a group by what they compute. A group of one is not
// looked into: most are.
type members struct {
	only  *ir.Node
	byKey map[string]*ir.Node
}

// common keeps, for one sweep, the first node of each kind.
func common(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	o := op.Of(n)
	if o == nil || o.Random || op.IsZipMap(n) { // files have no second name for a value of maps
		return nil, nil
	}
	g := group{op: n.Op}
	for _, v := range n.In {
		if v != nil && v.Const == nil {
			g.value = v
			break
		}
	}
	m, ok := c.Memo[g].(*members)
	if !ok {
		c.Memo[g] = &members{only: n}
		return nil, nil
	}
	if m.byKey == nil {
		m.byKey = map[string]*ir.Node{}
		if k, ok := key(m.only); ok && !m.only.Removed() {
			m.byKey[k] = m.only
		}
	}
	k, ok := key(n)
	if !ok {
		return nil, nil
	}
	first, seen := m.byKey[k]
	if !seen || first.Removed() {
		m.byKey[k] = n
		return nil, nil
	}
	return merge(n, first), nil
}

// merge lets the readers of n read first instead.
func merge(n, first *ir.Node) *ir.Patch {
	p := &ir.Patch{Reason: fmt.Sprintf("%s computes the same as %s", n, first)}
	for i, v := range n.Out {
		if v == nil || len(v.Uses()) == 0 && !v.IsOutput() {
			continue
		}
		w := first.Output(i)
		if w == nil {
			return nil
		}
		p.Replace = append(p.Replace, ir.Replacement{Old: v, New: w})
	}
	if len(p.Replace) == 0 {
		return nil
	}
	return p
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
