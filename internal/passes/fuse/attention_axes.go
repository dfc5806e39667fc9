package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/shape"
)

// assign chooses from where Q, K and V are read and to where the result is
// written. It gives the condition that failed.
func (a *attentionMatch) assign(c *pass.Context) string {
	p := a.scores.product
	q := p.In[0]
	if a.scores.factor != nil {
		q = ir.NewValue(c.Name(q.Name), q.Type) // times the factor
	}
	operands := [3]struct {
		v         *ir.Value
		transpose bool // the operand's last two dimensions are [size, sequence]
		scaled    bool
		inner     string // roles that may lie side by side
	}{
		{q, false, true, "d"},
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
	if why := a.checkWindows(); why != "" {
		return why
	}
	if why := a.checkTypes(); why != "" {
		return why
	}
	for i := range a.scores.masks {
		masks = append(masks, &a.scores.masks[i])
	}
	for i := range a.scores.hidden {
		masks = append(masks, &a.scores.hidden[i].cond)
	}
	heads := a.heads.Mul(shape.Const(a.groups))
	for _, m := range masks {
		s := (*m).Type.Shape
		if a.isOfItems(s, heads) {
			continue
		}
		if n := len(s); n < 3 || n == 5 || s[n-3].Is(1) || s[n-3].Equal(heads) {
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

// checkTypes makes sure that operands, masks and the result have one element type.
func (a *attentionMatch) checkTypes() string {
	t := a.weighted.Out[0].Type.DType
	values := a.scores.masks
	for _, s := range a.sources {
		values = append(values[:len(values):len(values)], s.value)
	}
	for _, v := range values {
		if v.Type.DType != t {
			return fmt.Sprintf("%q is of %s, the result of %s", v.Name, v.Type.DType, t)
		}
	}
	return ""
}

// isOfItems reports whether a mask is [batch·heads, queries, keys].
func (a *attentionMatch) isOfItems(s shape.Shape, heads shape.Dim) bool {
	return len(s) == 3 && a.batch != nil && !heads.Is(1) && s[0].Equal(a.batch.Mul(heads))
}

// checkWindows makes sure that masks of windows can be told from others.
func (a *attentionMatch) checkWindows() string {
	for _, m := range a.scores.masks {
		s := m.Type.Shape
		switch {
		case !a.scores.repeats || len(s) < 4 || len(s) == 4 && s[0].Is(1):
		case len(s) == 4:
			return fmt.Sprintf("mask %q of shape %s joins a mask of windows", m.Name, s)
		case a.batch == nil:
			return fmt.Sprintf("mask %q has shape %s, and there is no batch", m.Name, s)
		default:
			if _, ok := quotient(*a.batch, s[1]); !ok {
				return fmt.Sprintf("mask %q is of %s windows, which do not divide the batch %s", m.Name, s[1], *a.batch)
			}
		}
	}
	if a.scores.repeats && len(a.scores.hidden) > 0 {
		return "a mask of windows joins a Where"
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
