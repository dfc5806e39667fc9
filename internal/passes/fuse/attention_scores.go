package fuse

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// scores is what a softmax of attention is applied to:
//
//	max(scale·Q·Kᵀ + mask₁ + mask₂ …, fill)
//
// or of cap·tanh(scale·Q·Kᵀ/cap) instead of scale·Q·Kᵀ.
type scores struct {
	product *ir.Node // multiplies Q by Kᵀ
	scale   float32
	factor  *ir.Value // for each head, or nil: multiplies Q·Kᵀ too
	cap     float32
	masks   []*ir.Value // added
	hidden  []hidden    // replaced by fill
	fill    *float32
	repeats bool // the masks are those of windows, whose number divides the batch
}

// hidden are the elements that are replaced: those for which cond is value. A
// cond of float32 holds zeros and ones.
type hidden struct {
	cond  *ir.Value
	value bool
}

// readScores follows v up to the product. The reason says what is not as expected
// where it almost is.
func readScores(v *ir.Value) (s *scores, reason string) {
	n := v.Producer
	if n == nil {
		return nil, ""
	}
	if n.Is("MatMul") || n.Domain == op.Salver && n.Op == "FusedMatMul" {
		return scoresOf(n)
	}
	if !match.Private(v) {
		if s, _ := scoresAbove(n); s != nil {
			return nil, fmt.Sprintf("the scores %q are read elsewhere too", v.Name)
		}
		return nil, ""
	}
	return scoresAbove(n)
}

// scoresOf reads the product itself, into which scale and mask may be fused already.
func scoresOf(n *ir.Node) (*scores, string) {
	s := &scores{product: n, scale: 1}
	if n.Domain != op.Salver {
		return s, ""
	}
	if n.Input(2) != nil || n.Str("activation") != "" || n.Bool("transA") {
		return nil, ""
	}
	s.scale = n.Float("alpha")
	if m := n.Input(3); m != nil {
		s.masks = append(s.masks, m)
	}
	return s, ""
}

// scoresAbove reads what n does to scores.
func scoresAbove(n *ir.Node) (*scores, string) {
	if n.Domain != "" {
		return nil, ""
	}
	switch n.Op {
	case "Mul", "Div":
		return scaled(n)
	case "Add":
		return masked(n)
	case "Where":
		return replaced(n)
	case "Max":
		return clamped(n)
	case "Sub":
		return blended(n)
	case "Cast":
		if !isFloat(n.In[0]) || !isFloat(n.Out[0]) {
			return nil, ""
		}
		return readScores(n.In[0])
	case "Reshape", "Unsqueeze", "Squeeze":
		return readScores(n.In[0]) // the shape is checked where a mask is added
	}
	return nil, ""
}

func scaled(n *ir.Node) (*scores, string) {
	x, f, ok := factor(n)
	if !ok {
		return scaledByHead(n)
	}
	if t := match.Producer(x, "Tanh"); t != nil && match.Private(x) {
		return capped(n, t, f)
	}
	s, reason := readScores(x)
	if s == nil {
		return nil, reason
	}
	if !s.plain() {
		return nil, fmt.Sprintf("%s scales the mask as well", n)
	}
	s.scale *= f
	return s, ""
}

// plain reports whether nothing has been done to the products but scaling.
func (s *scores) plain() bool {
	return len(s.masks) == 0 && len(s.hidden) == 0 && s.fill == nil && s.cap == 0
}

// capped reads c·tanh(scores/c).
func capped(n, tanh *ir.Node, c float32) (*scores, string) {
	s, reason := readScores(tanh.In[0])
	if s == nil {
		return nil, reason
	}
	if !s.plain() || !(c > 0) {
		return nil, fmt.Sprintf("%s caps scores with a mask, or by %g", n, c)
	}
	s.scale *= c // of the scores before they were divided by it
	s.cap = c
	return s, ""
}

// scaledByHead reads a product with a number for each head.
func scaledByHead(n *ir.Node) (s *scores, reason string) {
	if !n.Is("Mul") {
		return nil, ""
	}
	match.Either(n, func(x, f *ir.Value) bool {
		d, full := f.Type.Shape, x.Type.Shape
		if len(d) < 2 || len(d) > len(full) || !d[len(d)-1].Is(1) || !d[len(d)-2].Is(1) || !full.Equal(n.Out[0].Type.Shape) {
			return false
		}
		t, why := readScores(x)
		switch reason = why; {
		case t == nil:
		case !t.plain() || t.factor != nil || !full.Equal(t.product.Out[0].Type.Shape):
			reason = fmt.Sprintf("%s scales the mask as well", n)
		default:
			t.factor = f
			s = t
		}
		return s != nil
	})
	return s, reason
}

func masked(n *ir.Node) (s *scores, reason string) {
	match.Either(n, func(x, m *ir.Value) bool {
		if x.IsConst() {
			return false
		}
		t, why := readScores(x)
		if t == nil {
			if reason == "" {
				reason = why
			}
			return false
		}
		if reason = broadcasts(m, x, n.Out[0]); reason != "" {
			return false
		}
		if t.fill != nil && !math.IsInf(float64(*t.fill), -1) {
			reason = fmt.Sprintf("%s adds to scores that are replaced by %g", n, *t.fill)
			return false
		}
		if len(m.Type.Shape) == 5 {
			t.repeats = true
		}
		t.masks = append(t.masks, m)
		s = t
		return true
	})
	if s != nil {
		return s, ""
	}
	return nil, reason
}

// broadcasts says why a mask can't be added within the kernel, or nothing.
func broadcasts(m, x, out *ir.Value) string {
	s, full := m.Type.Shape, x.Type.Shape
	if s == nil || full == nil || !out.Type.Shape.Equal(full) {
		return fmt.Sprintf("mask %q of shape %s does not just broadcast to the scores %s", m.Name, s, full)
	}
	if isWindowMask(s, full) {
		return ""
	}
	if len(s) > 4 || len(full) > 4 {
		return fmt.Sprintf("mask %q has shape %s, expected at most 4 dimensions", m.Name, s)
	}
	return ""
}

// isWindowMask reports whether a mask is [1, windows, 1, queries, keys] for scores
// [images, windows, heads, queries, keys].
func isWindowMask(s, full shape.Shape) bool {
	return len(s) == 5 && len(full) == 5 && s[0].Is(1) && s[1].Equal(full[1]) && s[2].Is(1)
}

// finiteFill bounds the scores by which a Where may hide keys: the exponential
// of a hidden score must vanish beside that of any other.
const finiteFill = -1000

func replaced(n *ir.Node) (*scores, string) {
	for i := 1; i <= 2; i++ {
		x, other := n.In[i], n.In[3-i]
		c, ok := match.Number(other)
		if !ok {
			continue
		}
		s, reason := readScores(x)
		if s == nil {
			return nil, reason
		}
		switch {
		case c != c || c > finiteFill:
			return nil, fmt.Sprintf("%s replaces scores by %g, expected -Inf or at most %d", n, c, finiteFill)
		case s.fill != nil && *s.fill != c:
			return nil, fmt.Sprintf("scores are replaced by %g and by %g", *s.fill, c)
		case len(s.masks) > 0 && c > -1e30:
			return nil, fmt.Sprintf("%s replaces scores with a mask by %g", n, c)
		}
		if reason := broadcasts(n.In[0], x, n.Out[0]); reason != "" {
			return nil, reason
		}
		s.hidden = append(s.hidden, hidden{n.In[0], i == 2})
		s.fill = &c
		return s, ""
	}
	return nil, ""
}

// blended reads x·b - k·(1-b) for a b of zeros and ones, by which GPT-2 replaces
// scores by -k.
func blended(n *ir.Node) (s *scores, reason string) {
	by := match.Producer(n.In[0], "Mul")
	if by == nil || !match.Private(n.In[0]) {
		return nil, ""
	}
	match.Either(by, func(x, b *ir.Value) bool {
		k, ok := complement(n.In[1], b)
		if !ok {
			return false
		}
		t, why := readScores(x)
		if reason = why; t == nil {
			return false
		}
		c := -k
		switch reason = broadcasts(b, x, n.Out[0]); {
		case reason != "":
		case !zerosAndOnes(b):
			reason = fmt.Sprintf("%s multiplies the scores by %q, which need not be 0 or 1", by, b.Name)
		case c > finiteFill || t.fill != nil || len(t.masks) > 0:
			reason = fmt.Sprintf("%s replaces scores by %g", n, c)
		default:
			t.hidden, t.fill = append(t.hidden, hidden{b, false}), &c
			s = t
		}
		return s != nil
	})
	return s, reason
}

// complement reads k·(1-b).
func complement(v, b *ir.Value) (k float32, ok bool) {
	m := match.Producer(v, "Mul")
	if m == nil {
		return 0, false
	}
	x, k, ok := match.NumberOperand(m)
	if !ok {
		return 0, false
	}
	sub := match.Producer(x, "Sub")
	if sub == nil || sub.In[1] != b {
		return 0, false
	}
	one, ok := match.Number(sub.In[0])
	return k, ok && one == 1
}

// zerosAndOnes reports whether v can hold nothing else.
func zerosAndOnes(v *ir.Value) bool {
	for isView(v.Producer) {
		v = v.Producer.In[0]
	}
	if cast := match.Producer(v, "Cast"); cast != nil {
		return cast.In[0].Type.DType == dtype.Bool
	}
	if !v.IsConst() || v.Const.DType != dtype.Float32 {
		return false
	}
	return !slices.ContainsFunc(tensor.Of[float32](v.Const), func(x float32) bool { return x != 0 && x != 1 })
}

// clamped reads the Max by which some models keep masked scores finite.
func clamped(n *ir.Node) (*scores, string) {
	x, c, ok := match.NumberOperand(n)
	if !ok {
		return nil, ""
	}
	s, reason := readScores(x)
	if s == nil {
		return nil, reason
	}
	if s.fill != nil || c > finiteFill {
		return nil, fmt.Sprintf("%s keeps scores above %g", n, c)
	}
	s.fill = &c
	return s, ""
}

// lowest is the bound that the kernel has to keep, if any.
func (s *scores) lowest() (float32, bool) {
	if s.fill == nil || math.IsInf(float64(*s.fill), -1) {
		return 0, false
	}
	return *s.fill, true
}

// keepsRows reports whether a reshape leaves the last two dimensions alone.
func keepsRows(from, to shape.Shape) bool {
	if len(from) < 2 || len(to) < 2 {
		return false
	}
	return from[len(from)-1].Equal(to[len(to)-1]) && from[len(from)-2].Equal(to[len(to)-2])
}
