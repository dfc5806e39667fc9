package tensorops

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	types := slices.DeleteFunc(slices.Clone(op.AllTensors), func(dt dtype.Type) bool { return slices.Contains(op.Complex, dt) })
	op.Register(op.Op{
		Name: "Unique", Versions: []int{11}, Doc: "the different elements, or slices along an axis, where they are and how often",
		In: op.Ports("X:T"), Out: op.Ports("Y:T", "indices:int64?", "inverse_indices:int64?", "counts:int64?"), Types: op.Types{"T": types},
		Attrs: op.Attrs{"axis": op.Opt(ir.KindInt), "sorted": op.Default(ir.Int(1))},
		Infer: uniqueInfer, Ref: uniqueRef, Rows: noRows, Cases: uniqueCases{},
	})
}

func uniqueInfer(c *op.Infer) error {
	x := c.In[0]
	n := shape.Unknown()
	var s shape.Shape
	switch {
	case !c.Node.Has("axis"):
		s = shape.Shape{n}
	case x.Shape != nil:
		axis, err := op.Axis(c.Node.Int("axis"), len(x.Shape))
		if err != nil {
			return err
		}
		s = slices.Clone(x.Shape)
		s[axis] = n
	}
	c.Set(0, x.DType, s)
	c.Set(1, dtype.Int64, shape.Shape{n})
	c.Set(2, dtype.Int64, shape.Shape{shape.Unknown()})
	c.Set(3, dtype.Int64, shape.Shape{n})
	return nil
}

// group is a set of equal slices.
type group struct{ first, count int }

func uniqueRef(c *op.Call) error {
	x := c.In[0]
	dims, axis := []int{x.Len()}, 0
	if c.Node.Has("axis") {
		var err error
		if axis, err = op.Axis(c.Node.Int("axis"), x.Rank()); err != nil {
			return err
		}
		dims = slices.Clone(x.Shape)
	}
	n, outer, inner := dims[axis], tensor.Count(dims[:axis]), tensor.Count(dims[axis+1:])
	element := elementOrder(x)
	compare := func(a, b int) int {
		for o := range outer {
			for i := range inner {
				if r := element((o*n+a)*inner+i, (o*n+b)*inner+i); r != 0 {
					return r
				}
			}
		}
		return 0
	}
	groups, inverse := grouped(n, compare, c.Node.Bool("sorted"))
	dims[axis] = len(groups)
	out := c.Output(0, x.DType, dims...)
	for o := range outer {
		for g, s := range groups {
			out.CopyElements((o*len(groups)+g)*inner, x, (o*n+s.first)*inner, inner)
		}
	}
	first, counts := tensor.Of[int64](c.Output(1, dtype.Int64, len(groups))), tensor.Of[int64](c.Output(3, dtype.Int64, len(groups)))
	for g, s := range groups {
		first[g], counts[g] = int64(s.first), int64(s.count)
	}
	copy(tensor.Of[int64](c.Output(2, dtype.Int64, n)), inverse)
	return nil
}

// grouped gathers equal slices, in their order or in that of first occurrence.
func grouped(n int, compare func(a, b int) int, sorted bool) (groups []group, inverse []int64) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, compare)
	member := make([]int, n) // slice → group
	for k, i := range order {
		if k == 0 || compare(order[k-1], i) != 0 {
			groups = append(groups, group{first: i})
		}
		member[i] = len(groups) - 1
		groups[len(groups)-1].count++
	}
	rank := make([]int, len(groups))
	for i := range rank {
		rank[i] = i
	}
	if !sorted {
		slices.SortFunc(rank, func(a, b int) int { return groups[a].first - groups[b].first })
	}
	place := make([]int64, len(groups))
	final := make([]group, len(groups))
	for to, from := range rank {
		place[from], final[to] = int64(to), groups[from]
	}
	inverse = make([]int64, n)
	for i, g := range member {
		inverse[i] = place[g]
	}
	return final, inverse
}
