package fuse

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Attention finds attention that exporters spell out.
var Attention = pass.Pass{
	Name: "fuse-attention", Level: 2,
	Doc: "softmax(scale·Q·Kᵀ + mask)·V becomes one operator that never holds the scores, and reads Q, K and V and writes its result through the " +
		"Reshapes, Transposes, Gathers, Slices, Splits and repeated heads around it.",
	Rewrite: attention,
}

func attention(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	a := findAttention(c, n)
	if a == nil {
		return nil, nil
	}
	if why := a.assign(c); why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	return a.patch(c), nil
}

// attentionMatch is an attention that was found.
type attentionMatch struct {
	scores     *scores
	weighted   *ir.Node // multiplies the softmax by V
	zeroMasked bool
	zeroed     *hidden   // weights that become 0 after the softmax, or nil
	sources    [3]source // of Q, K and V
	layouts    [3]string
	batch      *shape.Dim // nil if no operand has one
	heads      shape.Dim
	groups     int
	out        *ir.Value // the farthest value that the operator can write
	outLayout  string
	perm       []int   // by which the operator's result has to be transposed; nil: not
	regroup    []int64 // the shape into which it has to be reshaped after that; nil: not
}

// findAttention matches the product of a softmax with V.
func findAttention(c *pass.Context, n *ir.Node) *attentionMatch {
	if !plainProduct(n) || !isFloat(n.Out[0]) || len(n.In[0].Type.Shape) < 2 {
		return nil
	}
	a := &attentionMatch{weighted: n}
	softmax := a.softmaxOf(c, n.In[0])
	if softmax == nil {
		return nil
	}
	s, reason := readScores(softmax.In[0])
	if s == nil {
		if reason != "" {
			c.Near(n, "%s", reason)
		}
		return nil
	}
	a.scores = s
	if !keepsRows(s.product.Out[0].Type.Shape, softmax.In[0].Type.Shape) || !keepsRows(softmax.In[0].Type.Shape, n.In[0].Type.Shape) {
		c.Near(n, "the scores %s are reshaped to %s and %s", s.product.Out[0].Type, softmax.In[0].Type, n.In[0].Type)
		return nil
	}
	if a.zeroed != nil {
		if !a.hides(softmax) {
			c.Near(n, "weights become 0 where %q says, by which alone their scores are not hidden", a.zeroed.cond.Name)
			return nil
		}
		s.fill = nil // rows without any key become zeros, not averages
	}
	if s.scale == 0 || s.scale != s.scale {
		c.Near(n, "the scores are multiplied by %g", s.scale)
		return nil
	}
	return a
}

// plainProduct reports whether n multiplies two inputs and does nothing else
// that attention can't.
func plainProduct(n *ir.Node) bool {
	if n.Is("MatMul") {
		return true
	}
	return n.Domain == op.Salver && n.Op == "FusedMatMul" && n.Input(2) == nil && n.Input(3) == nil && n.Str("activation") == "" && n.Float("alpha") == 1 && !n.Bool("transA")
}

// isFloat reports whether v is of a type that attention computes in.
func isFloat(v *ir.Value) bool {
	t := v.Type.DType
	return t == dtype.Float32 || t == dtype.Float16 || t == dtype.BFloat16
}

// softmaxOf follows the weights up to the softmax that alone makes them.
func (a *attentionMatch) softmaxOf(c *pass.Context, v *ir.Value) *ir.Node {
	at := v
	for (at.Producer.Is("Reshape") || at.Producer.Is("Cast") && isFloat(at.Producer.In[0])) && match.Private(at) {
		at = at.Producer.In[0]
	}
	readers := 1
	if w := match.Producer(at, "Where"); w != nil && match.Private(at) {
		if at = nanGuarded(w); at != nil {
			readers = 2
		} else if at, a.zeroed = zeroedWeights(w); at == nil {
			return nil
		}
		a.zeroMasked = true
	}
	s := match.Producer(at, "Softmax")
	if s == nil {
		return nil
	}
	rank := len(s.In[0].Type.Shape)
	if axis := s.Int("axis"); rank < 2 || axis != -1 && axis != rank-1 {
		return nil
	}
	if p := s.In[0].Producer; len(at.Uses()) != readers || at.IsOutput() {
		if p != nil && !at.IsConst() {
			c.Near(a.weighted, "the weights %q are read elsewhere too", at.Name)
		}
		return nil
	}
	return s
}

// nanGuarded reads Where(IsNaN(p), 0, p), by which rows without any key become
// zeros.
func nanGuarded(w *ir.Node) *ir.Value {
	isNaN := match.Producer(w.In[0], "IsNaN")
	zero, ok := match.Number(w.In[1])
	if isNaN == nil || isNaN.In[0] != w.In[2] || !match.Private(w.In[0]) || !ok || zero != 0 {
		return nil
	}
	return w.In[2]
}

// zeroedWeights reads Where(c, 0, p) and Where(c, p, 0), by which weights that
// the softmax was to hide become exact zeros.
func zeroedWeights(w *ir.Node) (*ir.Value, *hidden) {
	for i := 1; i <= 2; i++ {
		if zero, ok := match.Number(w.In[3-i]); ok && zero == 0 && w.In[i].Type.Shape.Equal(w.Out[0].Type.Shape) {
			return w.In[i], &hidden{w.In[0], i == 2}
		}
	}
	return nil, nil
}

// hides reports whether the scores' last step hides just the weights that
// become 0 afterwards: then rows of which all are hidden become zeros, as do those
// of which a mask hides the others (but not if the softmax makes them NaN).
func (a *attentionMatch) hides(softmax *ir.Node) bool {
	s, last := a.scores, match.Producer(softmax.In[0], "Where")
	_, finite := s.lowest()
	return last != nil && last.In[0] == a.zeroed.cond && len(s.hidden) == 1 && s.hidden[0] == *a.zeroed && (len(s.masks) == 0 || finite)
}

func (a *attentionMatch) patch(c *pass.Context) *ir.Patch {
	mask, nodes := a.mask(c)
	if f := a.scores.factor; f != nil {
		nodes = append(nodes, ir.NewNode("", "Mul", op.MaxOpset, []*ir.Value{a.scores.product.In[0], f}, []*ir.Value{a.sources[0].value}, nil))
	}
	in := []*ir.Value{a.sources[0].value, a.sources[1].value, a.sources[2].value}
	if mask != nil {
		in = append(in, mask)
	}
	heads, _ := a.heads.Int()
	attrs := map[string]*ir.Attr{"heads": ir.Int(heads), "groups": ir.Int(a.groups), "scale": ir.Float(a.scores.scale),
		"q_layout": ir.Str(a.layouts[0]), "k_layout": ir.Str(a.layouts[1]), "v_layout": ir.Str(a.layouts[2]), "y_layout": ir.Str(a.outLayout)}
	if f, ok := a.scores.lowest(); ok {
		attrs["fill"] = ir.Float(f)
	}
	if a.scores.cap > 0 {
		attrs["softcap"] = ir.Float(a.scores.cap)
	}
	if a.scores.repeats {
		attrs["mask_repeats"] = ir.Int(1)
	}
	if a.zeroMasked {
		attrs["zero_masked"] = ir.Int(1)
	}
	y := c.Value(a.out.Name)
	m := ir.NewNode(op.Salver, "FusedAttention", 1, in, []*ir.Value{y}, attrs)
	m.Name = a.weighted.Name
	nodes = append(nodes, m)
	if a.perm != nil {
		x := y
		y = c.Value(a.out.Name)
		nodes = append(nodes, transposeNode(x, y, a.perm))
	}
	if a.regroup != nil {
		x, to := y, ir.NewConst(c.Name("shape"), tensor.FromSlice(a.regroup, len(a.regroup)))
		y = c.Value(a.out.Name)
		nodes = append(nodes, ir.NewNode("", "Reshape", 14, []*ir.Value{x, to}, []*ir.Value{y}, nil))
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s ends attention of %d heads over %q, %q and %q", a.weighted, heads*a.groups, in[0].Name, in[1].Name, in[2].Name),
		Add: nodes, Replace: []ir.Replacement{{Old: a.out, New: y}}}
}
