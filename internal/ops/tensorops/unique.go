package tensorops

import (
	"cmp"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	types := slices.DeleteFunc(slices.Clone(op.AllTensors), func(dt dtype.Type) bool { return slices.Contains(op.Complex, dt) })
	op.Register(&op.Op{
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
	var order []int
	var compare func(a, b int) int
	if keys := sortKeys(x); keys != nil && outer == 1 && inner == 1 {
		order = orderByKeys(keys)
		compare = func(a, b int) int { return cmp.Compare(keys[a], keys[b]) }
	} else {
		element := elementOrder(x)
		compare = func(a, b int) int {
			for o := range outer {
				for i := range inner {
					if r := element((o*n+a)*inner+i, (o*n+b)*inner+i); r != 0 {
						return r
					}
				}
			}
			return 0
		}
		order = make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, compare)
	}
	groups, inverse := grouped(order, compare, c.Node.Bool("sorted"))
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

// sortKeys gives numbers in the order of t's elements, equal where these are; nil for types that have none.
func sortKeys(t *tensor.Tensor) []uint64 {
	var keys []uint64
	switch dt := t.DType; {
	case dt == dtype.String || dt.Bits() < 8:
		return nil
	case dt.IsUnsigned():
		keys = num.Uint64s(t)
	case dt.IsSigned() || dt == dtype.Bool:
		for _, v := range num.Int64s(t) {
			keys = append(keys, uint64(v)^1<<63)
		}
	case dt.IsFloat():
		for _, v := range floats(t) {
			b := math.Float64bits(v + 0) // no negative zero
			b ^= uint64(int64(b)>>63) | 1<<63
			if v != v {
				b = math.MaxUint64
			}
			keys = append(keys, b)
		}
	default:
		return nil
	}
	if len(keys) == 0 {
		return keys
	}
	least := slices.Min(keys)
	for i := range keys {
		keys[i] -= least // differences have fewer bytes
	}
	return keys
}

// orderByKeys lists indices by their keys, and equal ones as they come: byte by byte from the last one.
func orderByKeys(keys []uint64) []int {
	type entry struct {
		key uint64
		at  int
	}
	from, to := make([]entry, len(keys)), make([]entry, len(keys))
	for i, k := range keys {
		from[i] = entry{k, i}
	}
	for shift := 0; shift < 64; shift += 8 {
		var places [257]int
		for _, e := range from {
			places[int(byte(e.key>>shift))+1]++
		}
		if slices.Contains(places[:], len(keys)) {
			continue // all have the same byte
		}
		for i := range 256 {
			places[i+1] += places[i]
		}
		for _, e := range from {
			b := byte(e.key >> shift)
			to[places[b]] = e
			places[b]++
		}
		from, to = to, from
	}
	order := make([]int, len(keys))
	for i, e := range from {
		order[i] = e.at
	}
	return order
}

// grouped gathers equal slices of those that are ordered, in their order or in that of first occurrence.
func grouped(order []int, compare func(a, b int) int, sorted bool) (groups []group, inverse []int64) {
	n := len(order)
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
