package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Rotary finds rotary position embeddings that exporters spell out.
var Rotary = pass.Pass{
	Name: "fuse-rotary", Level: 2,
	Doc: "Rotary position embeddings, x·cos + rotated(x)·sin of halves or of neighbours, or pairs turned one by one and joined, become one operator with the same bits in float32, and fewer roundings in 16 bits; " +
		"it takes in the elements that stay as they are, and Transposes of heads move behind it, where attention reads through them.",
	Rewrite: rotary,
}

func rotary(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if len(n.Out) == 0 || n.Out[0] == nil || !isFloat(n.Out[0]) || len(n.Out[0].Type.Shape) == 0 {
		return nil, nil
	}
	switch {
	case n.Is("Add"):
		return rotatedSum(c, n), nil
	case n.Is("Concat") || n.Is("Reshape"):
		if p := turnedPairs(c, n); p != nil {
			return p, nil
		}
		return turnedPart(c, n), nil
	case isRotary(n):
		return rotaryBelowTranspose(c, n), nil
	}
	return nil, nil
}

func isRotary(n *ir.Node) bool {
	return n != nil && n.Domain == op.Salver && n.Op == "FusedRotary"
}

// rotatedSum matches x·cos + R(x)·sin.
func rotatedSum(c *pass.Context, n *ir.Node) (patch *ir.Patch) {
	match.Either(n, func(left, right *ir.Value) bool {
		a, b := match.Producer(left, "Mul"), match.Producer(right, "Mul")
		if a == nil || b == nil {
			return false
		}
		match.Either(a, func(x, cos *ir.Value) bool {
			return match.Either(b, func(turn, sin *ir.Value) bool {
				interleaved, why, ok := isTurn(turn, x)
				if !ok {
					return false
				}
				if why == "" {
					why = cannotTurn(x, cos, sin, n.Out[0], false)
				}
				if why != "" {
					c.Near(n, "%s", why)
					return false
				}
				patch = rotaryPatch(c, n, x, cos, sin, interleaved, false)
				return true
			})
		})
		return patch != nil
	})
	return patch
}

// isTurn reports whether v is (-x₂, x₁), of halves or of neighbours. If v joins
// pairs of x in another way, it says in which.
func isTurn(v, x *ir.Value) (interleaved bool, why string, ok bool) {
	parts, interleaved, ok := joined(v)
	if !ok {
		return false, "", false
	}
	first, ok1 := pairPart(parts[0], x)
	second, ok2 := pairPart(parts[1], x)
	switch {
	case !ok1 && !ok2 || !first.negated && !second.negated:
		return false, "", false
	case !ok1 || !ok2:
		return false, fmt.Sprintf("%q joins other parts than the two of each pair of %q", v.Name, x.Name), true
	case first.interleaved != interleaved || second.interleaved != interleaved:
		return false, fmt.Sprintf("%q joins the pairs of %q otherwise than they were taken apart", v.Name, x.Name), true
	case first.index != 1 || second.index != 0 || !first.negated || second.negated:
		return false, fmt.Sprintf("%q is not (-second, first) of the pairs of %q", v.Name, x.Name), true
	}
	return interleaved, "", true
}

// joined reads the two parts that make the last axis of v, side by side or,
// where they lie one by one, interleaved.
func joined(v *ir.Value) (parts [2]*ir.Value, interleaved, ok bool) {
	n := v.Producer
	if n.Is("Reshape") || n.Is("Flatten") {
		from, to := n.In[0].Type.Shape, v.Type.Shape
		if r := len(to); len(from) != r+1 || !from[r].Is(2) || !from[:r-1].Equal(to[:r-1]) {
			return parts, false, false
		}
		n, interleaved = n.In[0].Producer, true
	}
	if !n.Is("Concat") || len(n.In) != 2 {
		return parts, false, false
	}
	a, b := n.In[0].Type.Shape, n.In[1].Type.Shape
	axis, ok := axisOf(n, len(a))
	return [2]*ir.Value{n.In[0], n.In[1]}, interleaved, ok && axis == len(a)-1 && a.Equal(b)
}

// pair is the first or the second element of each pair of the last axis.
type pair struct {
	index       int
	interleaved bool
	negated     bool
}

// pairPart reads v as a part of x.
func pairPart(v, x *ir.Value) (p pair, ok bool) {
	chain := []*ir.Value{v}
	for at := v; at != x; {
		n := at.Producer
		switch {
		case n.Is("Neg"):
			p.negated = !p.negated
		case !isView(n):
			return p, false
		}
		at = n.In[0]
		chain = append(chain, at)
	}
	view := newView(x.Type.Shape)
	for i := len(chain) - 2; i >= 0; i-- {
		if n := chain[i].Producer; !n.Is("Neg") && !view.follow(n, chain[i]) {
			return p, false
		}
	}
	last := len(view.base) - 1
	base := view.base[last]
	if len(base) != 2 {
		return p, false
	}
	first, second := base[0], base[1]
	switch {
	case first.fixed && first.size.Is(2) && !second.fixed:
		p.index, view.base[last] = first.index, base[1:]
	case second.fixed && second.size.Is(2) && !first.fixed:
		p.index, p.interleaved, view.base[last] = second.index, true, base[:1]
	default:
		return p, false
	}
	dims := view.dims
	if len(dims) == len(view.base)+1 && len(dims[last+1]) == 0 {
		dims = dims[:last+1]
	}
	return p, slices.EqualFunc(view.base, dims, func(a, b []*atom) bool { return slices.Equal(a, b) })
}

// cannotTurn says why x cannot be turned by the given factors, or nothing.
func cannotTurn(x, cos, sin, y *ir.Value, paired bool) string {
	s, a, b := x.Type.Shape, cos.Type.Shape, sin.Type.Shape
	width, ok := s[len(s)-1].Int()
	if paired {
		width /= 2
	}
	switch {
	case !s.Equal(y.Type.Shape):
		return fmt.Sprintf("%q of shape %s is turned to %s", x.Name, s, y.Type.Shape)
	case len(a) == 0 || !a.Equal(b):
		return fmt.Sprintf("the cosines %q have shape %s and the sines %q %s", cos.Name, a, sin.Name, b)
	case !ok || !a[len(a)-1].Is(width):
		return fmt.Sprintf("the cosines %q have shape %s, expected %d columns", cos.Name, a, width)
	case !broadcastsTo(a[:len(a)-1], s[:len(s)-1]):
		return fmt.Sprintf("the cosines %q of shape %s do not broadcast to %s", cos.Name, a, s)
	}
	return ""
}

func broadcastsTo(a, s shape.Shape) bool {
	lead := len(s) - len(a)
	for i, d := range a {
		if lead < 0 || !d.Is(1) && !d.Equal(s[lead+i]) {
			return false
		}
	}
	return lead >= 0
}

func rotaryPatch(c *pass.Context, n *ir.Node, x, cos, sin *ir.Value, interleaved, paired bool) *ir.Patch {
	y := c.Value(n.Out[0].Name)
	attrs := map[string]*ir.Attr{"interleaved": flag(interleaved), "paired": flag(paired)}
	m := ir.NewNode(op.Salver, "FusedRotary", 1, []*ir.Value{x, cos, sin}, []*ir.Value{y}, attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s ends a rotary embedding of %q", n, x.Name), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

func flag(on bool) *ir.Attr {
	if on {
		return ir.Int(1)
	}
	return ir.Int(0)
}

// turnedPairs matches (x₁·cos - x₂·sin, x₂·cos + x₁·sin), joined as they were apart.
func turnedPairs(c *pass.Context, n *ir.Node) *ir.Patch {
	parts, interleaved, ok := joined(n.Out[0])
	if !ok {
		return nil
	}
	var bare [2]*ir.Value // without the axis along which they are joined
	for i, v := range parts {
		if bare[i] = v; interleaved {
			if bare[i] = beforeLastAxis(v); bare[i] == nil {
				return nil
			}
		}
	}
	sub, add := match.Producer(bare[0], "Sub"), match.Producer(bare[1], "Add")
	if sub == nil || add == nil {
		return nil
	}
	p, q := match.Producer(sub.In[0], "Mul"), match.Producer(sub.In[1], "Mul")
	if p == nil || q == nil {
		return nil
	}
	var patch *ir.Patch
	match.Either(p, func(x1, cos *ir.Value) bool {
		return match.Either(q, func(x2, sin *ir.Value) bool {
			if !sumOfProducts(add, [2]*ir.Value{x2, cos}, [2]*ir.Value{x1, sin}) {
				return false
			}
			x := wholeOf(x1, x2, interleaved)
			if x == nil {
				return false
			}
			if why := cannotTurn(x, cos, sin, n.Out[0], true); why != "" {
				c.Near(n, "%s", why)
				return false
			}
			patch = rotaryPatch(c, n, x, cos, sin, interleaved, true)
			return true
		})
	})
	return patch
}

// beforeLastAxis gives the value to which an axis of size 1 was added at the end.
func beforeLastAxis(v *ir.Value) *ir.Value {
	n, s := v.Producer, v.Type.Shape
	if !n.Is("Unsqueeze") && !n.Is("Reshape") || len(s) == 0 || !s[len(s)-1].Is(1) || !n.In[0].Type.Shape.Equal(s[:len(s)-1]) {
		return nil
	}
	return n.In[0]
}

// sumOfProducts reports whether n is a·b + c·d in any order.
func sumOfProducts(n *ir.Node, first, second [2]*ir.Value) bool {
	is := func(v *ir.Value, p [2]*ir.Value) bool {
		m := match.Producer(v, "Mul")
		return m != nil && match.Either(m, func(a, b *ir.Value) bool { return a == p[0] && b == p[1] })
	}
	return match.Either(n, func(a, b *ir.Value) bool { return is(a, first) && is(b, second) })
}

// wholeOf gives the value of which x1 and x2 are the first and second of all pairs.
func wholeOf(x1, x2 *ir.Value, interleaved bool) *ir.Value {
	for at := x1; isView(at.Producer); {
		at = at.Producer.In[0]
		a, ok1 := pairPart(x1, at)
		b, ok2 := pairPart(x2, at)
		if ok1 && ok2 && a == (pair{0, interleaved, false}) && b == (pair{1, interleaved, false}) {
			return at
		}
	}
	return nil
}

// turnedPart matches the first elements of x, turned, before the others.
func turnedPart(c *pass.Context, n *ir.Node) *ir.Patch {
	rank := len(n.Out[0].Type.Shape)
	if axis, ok := axisOf(n, rank); !n.Is("Concat") || len(n.In) != 2 || !ok || axis != rank-1 {
		return nil
	}
	r := n.In[0].Producer
	if !isRotary(r) || !match.Private(n.In[0]) {
		return nil
	}
	x, from, to, ok := rangeOf(r.In[0])
	other, next, end, ok2 := rangeOf(n.In[1])
	if !ok || !ok2 || x != other || from != 0 || to != next {
		c.Near(n, "%q and %q are no parts of one value that follow each other", r.In[0].Name, n.In[1].Name)
		return nil
	}
	if s := x.Type.Shape; !s[len(s)-1].Is(end) {
		c.Near(n, "%q of shape %s is left out from %d on", x.Name, s, end)
		return nil
	}
	return rotaryPatch(c, n, x, r.In[1], r.In[2], r.Bool("interleaved"), r.Bool("paired"))
}

// rangeOf reads v as the elements from one on up to another of the last axis of x.
func rangeOf(v *ir.Value) (x *ir.Value, from, to int, ok bool) {
	n := v.Producer
	if !n.Is("Slice") && !n.Is("Split") || n.In[0].Type.Shape == nil {
		return nil, 0, 0, false
	}
	x = n.In[0]
	last := len(x.Type.Shape) - 1
	if n.Is("Split") {
		axis, ok := axisOf(n, last+1)
		for _, o := range n.Out[:v.Index+1] {
			size, known := o.Type.Shape[last].Int()
			from, to, ok = to, to+size, ok && known
		}
		return x, from, to, ok && axis == last
	}
	size, known := x.Type.Shape[last].Int()
	var ints [5][]int
	for i := 1; i < len(n.In); i++ {
		if n.In[i] == nil {
			continue
		}
		if !n.In[i].IsConst() {
			return nil, 0, 0, false
		}
		ints[i], _ = n.In[i].Const.Ints()
	}
	onLast := len(ints[3]) == 1 && (ints[3][0] == last || ints[3][0] == -1)
	if !known || !onLast || len(ints[1]) != 1 || len(ints[2]) != 1 || ints[4] != nil && ints[4][0] != 1 {
		return nil, 0, 0, false
	}
	return x, bound(ints[1][0], size), bound(ints[2][0], size), true
}

// rotaryBelowTranspose moves a Transpose that keeps the last axis behind the
// rotation, if the angles can follow without being copied.
func rotaryBelowTranspose(c *pass.Context, n *ir.Node) *ir.Patch {
	t := match.Producer(n.In[0], "Transpose")
	if t == nil || !match.Private(n.In[0]) || !keepsLast(t.Ints("perm")) {
		return nil
	}
	perm := t.Ints("perm")
	if !movesOnlyOnes(n.In[1].Type.Shape, perm) {
		c.Near(n, "the angles %q of shape %s would have to be transposed too", n.In[1].Name, n.In[1].Type.Shape)
		return nil
	}
	back := make([]int, len(perm))
	for i, p := range perm {
		back[p] = i
	}
	var nodes []*ir.Node
	in := []*ir.Value{t.In[0]}
	for _, v := range n.In[1:] {
		if lead := len(perm) - len(v.Type.Shape); lead > 0 {
			axes := make([]int64, lead)
			for i := range axes {
				axes[i] = int64(i)
			}
			x := v
			v = c.Value(v.Name)
			nodes = append(nodes, ir.NewNode("", "Unsqueeze", 13, []*ir.Value{x, ir.NewConst(c.Name("axes"), tensor.FromSlice(axes, lead))}, []*ir.Value{v}, nil))
		}
		y := c.Value(v.Name)
		nodes = append(nodes, transposeNode(v, y, back))
		in = append(in, y)
	}
	z, y := c.Value(n.Out[0].Name), c.Value(n.Out[0].Name)
	m := ir.NewNode(op.Salver, "FusedRotary", 1, in, []*ir.Value{z}, n.Attrs)
	m.Name = n.Name
	nodes = append(nodes, m, transposeNode(z, y, perm))
	return &ir.Patch{Reason: fmt.Sprintf("%s moves behind %s", t, n), Add: nodes, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}
}

// movesOnlyOnes reports whether the dimensions of s that are larger than 1 stay
// in order when axis i of perm's goes to axis perm[i]; missing ones are 1.
func movesOnlyOnes(s shape.Shape, perm []int) bool {
	lead, before := len(perm)-len(s), -1
	for i, to := range perm {
		if i < lead || s[i-lead].Is(1) {
			continue
		}
		if to < before {
			return false
		}
		before = to
	}
	return true
}
