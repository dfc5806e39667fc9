package fuse

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
)

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
