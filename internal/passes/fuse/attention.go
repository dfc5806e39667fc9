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
	if why := a.assign(); why != "" {
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
	if !plainProduct(n) || !match.Float32(n.Out[0]) || len(n.In[0].Type.Shape) < 2 {
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

// softmaxOf follows the weights up to the softmax that alone makes them.
func (a *attentionMatch) softmaxOf(c *pass.Context, v *ir.Value) *ir.Node {
	at := v
	for at.Producer.Is("Reshape") && match.Private(at) {
		at = at.Producer.In[0]
	}
	readers := 1
	if w := match.Producer(at, "Where"); w != nil && match.Private(at) {
		if at = nanGuarded(w); at == nil {
			return nil
		}
		a.zeroMasked = true
		readers = 2
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
	zero, ok := match.Scalar(w.In[1])
	if isNaN == nil || isNaN.In[0] != w.In[2] || !match.Private(w.In[0]) || !ok || zero != 0 {
		return nil
	}
	return w.In[2]
}

// assign chooses from where Q, K and V are read and to where the result is
// written. It gives the condition that failed.
func (a *attentionMatch) assign() string {
	p := a.scores.product
	operands := [3]struct {
		v         *ir.Value
		transpose bool // the operand's last two dimensions are [size, sequence]
		scaled    bool
		inner     string // roles that may lie side by side
	}{
		{p.In[0], false, true, "d"},
		{p.In[1], !p.Bool("transB"), true, "ds"},
		{a.weighted.In[1], a.weighted.Bool("transB"), false, "d"},
	}
	var all [3][]source
	for i, o := range operands {
		all[i] = sources(o.v, o.scaled)
		for j := range all[i] {
			if o.transpose {
				d := all[i][j].view.dims
				if n := len(d); n >= 2 {
					d[n-1], d[n-2] = d[n-2], d[n-1]
				}
			}
		}
	}
	// K comes first: it says how many queries share a head.
	for _, i := range []int{1, 2, 0} {
		found := false
		for _, s := range all[i] {
			if found = a.take(i, s, operands[i].inner); found {
				break
			}
		}
		if !found {
			return fmt.Sprintf("%q of shape %s is no [batch, heads, sequence, size]", operands[i].v.Name, operands[i].v.Type.Shape)
		}
	}
	a.scores.scale *= a.sources[0].scale * a.sources[1].scale
	if why := a.checkMasks(); why != "" {
		return why
	}
	return a.assignOutput()
}

// checkMasks makes sure that each mask means [batch, heads, queries, keys].
func (a *attentionMatch) checkMasks() string {
	var masks []**ir.Value
	for i := range a.scores.masks {
		masks = append(masks, &a.scores.masks[i])
	}
	for i := range a.scores.hidden {
		masks = append(masks, &a.scores.hidden[i].cond)
	}
	heads := a.heads.Mul(shape.Const(a.groups))
	for _, m := range masks {
		s := (*m).Type.Shape
		if n := len(s); n < 3 || s[n-3].Is(1) || s[n-3].Equal(heads) {
			continue
		}
		apart := beforeMerge(*m, heads)
		if apart == nil {
			return fmt.Sprintf("mask %q has shape %s, expected 1 or %s heads", (*m).Name, s, heads)
		}
		*m = apart
	}
	return ""
}

// beforeMerge gives the mask [batch, heads, …] of which a Reshape made
// [batch·heads, …].
func beforeMerge(m *ir.Value, heads shape.Dim) *ir.Value {
	r := match.Producer(m, "Reshape")
	if r == nil {
		return nil
	}
	from, to := r.In[0].Type.Shape, m.Type.Shape
	if len(from) != 4 || len(to) != 3 || !from[1].Equal(heads) || !from[0].Mul(from[1]).Equal(to[0]) || !from[2:].Equal(to[1:]) {
		return nil
	}
	return r.In[0]
}

// take reads operand i from a source, if its axes can be told.
func (a *attentionMatch) take(i int, s source, inner string) bool {
	heads, groups, batch := a.heads, a.groups, a.batch
	v := s.view
	text, ok := "", a.roles(v, i == 0)
	if ok {
		text, ok = layout(v.base)
	}
	if !ok || !slices.Contains([]byte(inner), innermost(v.base)) {
		a.heads, a.groups, a.batch = heads, groups, batch
		return false
	}
	a.sources[i], a.layouts[i] = s, text
	return true
}

// roles names the atoms of [batch, heads, sequence, size] or of
// [batch·heads, sequence, size].
func (a *attentionMatch) roles(v *view, queries bool) bool {
	rank := len(v.dims)
	if rank < 2 || rank > 4 {
		return false
	}
	for i, role := range map[int]byte{rank - 1: 'd', rank - 2: 's'} {
		d := v.dims[i]
		if len(d) > 1 || len(d) == 1 && d[0].added {
			return false
		}
		if len(d) == 1 {
			d[0].role = role
		}
	}
	if queries {
		a.separate(v)
	}
	batch, heads := v.lead()
	if len(batch) > 1 || len(batch) == 1 && batch[0].added {
		return false
	}
	if len(batch) == 1 {
		batch[0].role = 'b'
		if a.batch == nil {
			a.batch = &batch[0].size
		}
		if !a.batch.Equal(batch[0].size) {
			return false
		}
	}
	if queries {
		return a.queryHeads(v, heads)
	}
	return a.keyHeads(heads)
}

// separate cuts [batch·heads, …] in two where the keys say how many heads there are.
func (a *attentionMatch) separate(v *view) {
	d := v.dims[0]
	heads := a.heads.Mul(shape.Const(a.groups))
	if len(v.dims) != 3 || len(d) != 1 || heads.Is(1) || d[0].size.Equal(heads) {
		return
	}
	if q, ok := quotient(d[0].size, heads); ok {
		v.cut(d[0], q)
	}
}

// lead splits the atoms before the last two dimensions in batch and heads.
func (v *view) lead() (batch, heads []*atom) {
	switch len(v.dims) {
	case 4:
		return v.dims[0], v.dims[1]
	case 3:
		d := v.dims[0]
		if len(d) == 0 {
			return nil, nil
		}
		if _, fixed := d[0].size.Int(); fixed && len(d) == 1 {
			return nil, d
		}
		return d[:1], d[1:]
	}
	return nil, nil
}

// keyHeads takes h, or h and g where heads are repeated for groups of queries.
func (a *attentionMatch) keyHeads(heads []*atom) bool {
	h, g := shape.Const(1), 1
	for _, x := range heads {
		switch n, ok := x.size.Int(); {
		case !ok || x.fixed || len(heads) > 2:
			return false
		case x.added && g == 1:
			g = n
		case !x.added && x == heads[0]:
			h, x.role = x.size, 'h'
		default:
			return false
		}
	}
	if a.groups == 0 {
		a.heads, a.groups = h, g
	}
	return a.heads.Equal(h) && a.groups == g
}

// queryHeads takes h and g, or g alone where all queries share the keys' only head.
func (a *attentionMatch) queryHeads(v *view, heads []*atom) bool {
	n, ok := sizeOf(heads).Int()
	h, _ := a.heads.Int()
	if !ok || slices.ContainsFunc(heads, func(x *atom) bool { return x.added }) {
		return false
	}
	switch {
	case n == h*a.groups:
	case h == 1 && a.groups == 1: // the product repeats the keys
		a.groups = n
	default:
		return false
	}
	switch {
	case len(heads) == 0:
	case len(heads) == 2 && heads[0].size.Is(h) && heads[1].size.Is(a.groups):
		heads[0].role, heads[1].role = 'h', 'g'
	case len(heads) == 1 && a.groups == 1:
		heads[0].role = 'h'
	case len(heads) == 1 && h == 1:
		heads[0].role = 'g'
	case len(heads) == 1:
		x, y := v.cut(heads[0], a.heads)
		x.role, y.role = 'h', 'g'
	default:
		return false
	}
	return true
}

// assignOutput follows the result through the reshapes and transpositions that
// alone read it.
func (a *attentionMatch) assignOutput() string {
	y := a.weighted.Out[0]
	if y.Type.Shape == nil {
		return "the shape of the result is unknown"
	}
	v := newView(y.Type.Shape)
	if !a.roles(v, true) {
		return fmt.Sprintf("the result %s has other dimensions than Q", y.Type)
	}
	for {
		if text, ok := layout(v.dims); ok && innermost(v.dims) == 'd' {
			a.out, a.outLayout, a.perm, a.regroup = y, text, nil, nil
			a.batchFirst(v)
		} else if !ok {
			a.flattened(v, y)
		}
		if !match.Private(y) {
			break
		}
		n := y.Uses()[0].Node
		if y.Uses()[0].Index != 0 || !isView(n) || n.Is("Gather") || n.Is("Slice") || n.Is("Split") || n.Is("Expand") || !v.follow(n, n.Out[0]) {
			break
		}
		y = n.Out[0]
	}
	if a.out == nil {
		return fmt.Sprintf("the elements of a head do not lie side by side in %s", y.Type)
	}
	return ""
}

// batchFirst writes [sequence, batch, …] as [batch, sequence, …] and transposes
// it: the transposition can then move on.
func (a *attentionMatch) batchFirst(v *view) {
	for i := range v.dims[:max(len(v.dims)-1, 0)] {
		s, b := v.dims[i], v.dims[i+1]
		if len(s) == 1 && s[0].role == 's' && len(b) == 1 && b[0].role == 'b' && i == 0 {
			dims := slices.Clone(v.dims)
			dims[0], dims[1] = b, s
			a.outLayout, _ = layout(dims)
			a.perm = []int{1, 0}
			for j := 2; j < len(dims); j++ {
				a.perm = append(a.perm, j)
			}
		}
	}
}

// flattened writes [sequence·batch, heads·size] as [batch, sequence, heads, size],
// which is transposed and regrouped: neither need stay (see Rows).
func (a *attentionMatch) flattened(v *view, y *ir.Value) {
	flat := slices.Concat(v.dims...)
	if len(flat) < 3 || flat[0].role != 's' || flat[1].role != 'b' || innermost(v.dims) != 'd' {
		return
	}
	var group []int64
	free := 0
	for _, d := range v.dims {
		n, ok := sizeOf(d).Int()
		if !ok {
			n, free = -1, free+1
		}
		group = append(group, int64(n))
	}
	if free > 1 {
		return
	}
	apart := make([][]*atom, len(flat))
	for i, x := range flat {
		apart[i] = []*atom{x}
	}
	apart[0], apart[1] = apart[1], apart[0]
	text, ok := layout(apart)
	if !ok {
		return
	}
	a.out, a.outLayout, a.regroup, a.perm = y, text, group, []int{1, 0}
	for j := 2; j < len(flat); j++ {
		a.perm = append(a.perm, j)
	}
}

func (a *attentionMatch) patch(c *pass.Context) *ir.Patch {
	mask, nodes := a.scores.mask(c)
	in := []*ir.Value{a.sources[0].value, a.sources[1].value, a.sources[2].value}
	if mask != nil {
		in = append(in, mask)
	}
	heads, _ := a.heads.Int()
	attrs := map[string]ir.Attr{"heads": ir.Int(heads), "groups": ir.Int(a.groups), "scale": ir.Float(a.scores.scale),
		"q_layout": ir.Str(a.layouts[0]), "k_layout": ir.Str(a.layouts[1]), "v_layout": ir.Str(a.layouts[2]), "y_layout": ir.Str(a.outLayout)}
	if f, ok := a.scores.lowest(); ok {
		attrs["fill"] = ir.Float(f)
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
