package clean

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// Sequences takes items out of sequences whose making is in the graph.
var Sequences = pass.Pass{
	Name: "sequence-items", Level: 1, Portable: true,
	Doc:     "SequenceAt, SequenceLength and ConcatFromSequence of a sequence that SequenceConstruct, SequenceInsert, SequenceErase or SplitToSequence makes read its items directly.",
	Rewrite: sequences,
}

func sequences(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	switch {
	case n.Is("SequenceAt"):
		return item(c, n), nil
	case n.Is("SequenceLength"):
		if items, ok := itemsOf(n.In[0]); ok {
			length := ir.NewConst(c.Name(n.Out[0].Name), tensor.Scalar(int64(len(items))))
			return &ir.Patch{Reason: fmt.Sprintf("%s counts %d items", n, len(items)), Replace: []ir.Replacement{{Old: n.Out[0], New: length}}}, nil
		}
	case n.Is("ConcatFromSequence"):
		return joined(c, n), nil
	}
	return nil, nil
}

// itemsOf gives the items of a sequence, where the graph lists them in no more than
// mostParts steps.
func itemsOf(v *ir.Value) (items []*ir.Value, ok bool) {
	var steps []*ir.Node // what changes the sequence, the last change first
	n := v.Producer
	for ; n.Is("Identity") || n.Is("SequenceInsert") || n.Is("SequenceErase"); n = n.In[0].Producer {
		if steps = append(steps, n); len(steps) > mostParts {
			return nil, false
		}
	}
	switch {
	case n.Is("SequenceEmpty"):
	case n.Is("SequenceConstruct"):
		items = slices.Clone(n.In)
	default:
		return nil, false
	}
	for _, n := range slices.Backward(steps) {
		switch n.Op {
		case "SequenceInsert":
			at, ok := position(n.Input(2), len(items), len(items))
			if !ok || at > len(items) {
				return nil, false
			}
			items = slices.Insert(items, at, n.In[1])
		case "SequenceErase":
			at, ok := position(n.Input(1), len(items), len(items)-1)
			if !ok || at >= len(items) {
				return nil, false
			}
			items = slices.Delete(items, at, at+1)
		}
	}
	return items, true
}

// position reads the constant index of one of n items; what lies outside is left to fail
// when it runs.
func position(v *ir.Value, n, absent int) (int, bool) {
	if v == nil {
		return absent, absent >= 0
	}
	if !v.IsConst() || v.Const.Len() != 1 {
		return 0, false
	}
	i, err := v.Const.Ints()
	if err != nil {
		return 0, false
	}
	if i[0] < 0 {
		i[0] += n
	}
	return i[0], i[0] >= 0
}

// item is the patch for SequenceAt.
func item(c *pass.Context, n *ir.Node) *ir.Patch {
	if items, ok := itemsOf(n.In[0]); ok {
		if at, ok := position(n.In[1], len(items), 0); ok && at < len(items) && items[at].Type.DType == n.Out[0].Type.DType {
			return &ir.Patch{Reason: fmt.Sprintf("%s is item %d of its sequence", n, at), Replace: []ir.Replacement{{Old: n.Out[0], New: items[at]}}}
		}
		return nil
	}
	s := n.In[0].Producer
	if s == nil || !s.Is("SplitToSequence") {
		return nil
	}
	axis, sizes, ok := partsOf(s)
	at, constant := position(n.In[1], len(sizes), 0)
	if !ok || !constant || at >= len(sizes) {
		return nil
	}
	from := 0
	for _, size := range sizes[:at] {
		from += size
	}
	vector := func(name string, i int) *ir.Value {
		return ir.NewConst(c.Name(n.Out[0].Name+name), tensor.FromSlice([]int64{int64(i)}, 1))
	}
	axes, y := vector("_axes", axis), c.Value(n.Out[0].Name)
	cut := ir.NewNode("", "Slice", 13, []*ir.Value{s.In[0], vector("_starts", from), vector("_ends", from+sizes[at]), axes}, []*ir.Value{y}, nil)
	cut.Name = n.Name
	p := &ir.Patch{Reason: fmt.Sprintf("%s is a part of %q", n, s.In[0].Name), Add: []*ir.Node{cut}}
	if s.Input(1) == nil && !s.Bool("keepdims") {
		x := y
		y = c.Value(n.Out[0].Name)
		p.Add = append(p.Add, ir.NewNode("", "Squeeze", 13, []*ir.Value{x, axes}, []*ir.Value{y}, nil))
	}
	p.Replace = []ir.Replacement{{Old: n.Out[0], New: y}}
	return p
}

// mostParts bounds the items of a sequence that are looked at, and the changes to it.
const mostParts = 1 << 12

// partsOf gives the axis of a SplitToSequence and the sizes of its parts, where they are
// known.
func partsOf(s *ir.Node) (axis int, sizes []int, ok bool) {
	x := s.In[0].Type.Shape
	axis = s.Int("axis")
	if axis < 0 {
		axis += len(x)
	}
	if axis < 0 || axis >= len(x) {
		return 0, nil, false
	}
	n, known := x[axis].Int()
	split := s.Input(1)
	if !known || split != nil && !split.IsConst() {
		return 0, nil, false
	}
	each := 1
	if split != nil {
		v, err := split.Const.Ints()
		if err != nil || len(v) == 0 || slices.Min(v) < 1 {
			return 0, nil, false
		}
		if split.Const.Rank() == 1 {
			sum := 0
			for _, size := range v {
				sum += size
			}
			return axis, v, sum == n
		}
		each = v[0]
	}
	if n/each >= mostParts {
		return 0, nil, false
	}
	for ; n > 0; n -= each {
		sizes = append(sizes, min(each, n))
	}
	return axis, sizes, true
}

// joined is the patch for ConcatFromSequence.
func joined(c *pass.Context, n *ir.Node) *ir.Patch {
	items, ok := itemsOf(n.In[0])
	if !ok || len(items) == 0 {
		return nil
	}
	p := &ir.Patch{Reason: fmt.Sprintf("%s joins %d tensors", n, len(items))}
	if n.Bool("new_axis") {
		axes := ir.NewConst(c.Name(n.Out[0].Name+"_axes"), tensor.FromSlice([]int64{int64(n.Int("axis"))}, 1))
		for i, v := range items {
			up := c.Value(v.Name)
			p.Add = append(p.Add, ir.NewNode("", "Unsqueeze", 13, []*ir.Value{v, axes}, []*ir.Value{up}, nil))
			items[i] = up
		}
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", "Concat", 13, items, []*ir.Value{y}, map[string]*ir.Attr{"axis": ir.Int(n.Int("axis"))})
	m.Name = n.Name
	p.Add = append(p.Add, m)
	p.Replace = []ir.Replacement{{Old: n.Out[0], New: y}}
	return p
}
