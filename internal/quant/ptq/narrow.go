package ptq

import (
	"math"
	"sort"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/tensor"
)

// narrowed is the part of v's range that what reads v tells apart. HardSwish makes 0
// of all numbers below -3, Sigmoid nearly the same number of all that are large: levels
// out there are lost. The ends move inwards as long as clipping changes what the
// functions of v give by no more than a quarter of what rounding within the range does,
// both at their worst.
func (p *plan) narrowed(v *ir.Value, r quant.Range) quant.Range {
	r.Min, r.Max = math.Min(r.Min, 0), math.Max(r.Max, 0) // as every mapping has it
	lowest, highest, err := quant.Limits(p.types[v])
	if err != nil || p.types[v].Bits() > 8 || r.Min == r.Max { // 16 bits have levels to spare
		return r
	}
	var functions [][]float32
	for _, end := range p.chainEnds(v) {
		f := sampled(end, v, r)
		if f == nil || end == v {
			return r
		}
		functions = append(functions, f)
	}
	if len(functions) == 0 {
		return r
	}
	return narrow(r, int(highest-lowest), functions)
}

// longestChain bounds the values that chainEnds looks at.
const longestChain = 32

// chainEnds lists the functions of v, element by element, that something else reads
// than further ones: v itself if it is read so, nothing if there are too many.
func (p *plan) chainEnds(v *ir.Value) (ends []*ir.Value) {
	seen := map[*ir.Value]bool{v: true}
	for list := []*ir.Value{v}; len(list) > 0; list = list[1:] {
		x := list[0]
		end := x.IsOutput() || x != v && p.types[x] != 0
		for _, u := range x.Uses() {
			y := p.functionOf(u.Node, v)
			end = end || y == nil
			if y != nil && !seen[y] && (x == v || p.types[x] == 0) {
				seen[y] = true
				list = append(list, y)
			}
		}
		if end {
			ends = append(ends, x)
		}
		if len(seen) > longestChain {
			return nil
		}
	}
	return ends
}

// functionOf is what n gives, if n computes a function of v from one.
func (p *plan) functionOf(n *ir.Node, v *ir.Value) *ir.Value {
	if p.role[n] == roleFunction || p.role[n] == rolePair && p.root(n.In[0]) == v && p.root(n.In[1]) == v {
		return n.Out[0]
	}
	return nil
}

// curvePoints is at how many numbers of a range a function is looked at: 16 for each
// of 256 levels.
const curvePoints = 4096

// pointOf is the number at which a function is looked at.
func pointOf(r quant.Range, i int) float64 {
	return r.Min + float64((r.Max-r.Min)*float64(i))/(curvePoints-1)
}

// sampled computes y, a function of v, at equal distances over a range; nil where it
// is not finite.
func sampled(y, v *ir.Value, r quant.Range) []float32 {
	x := tensor.New(dtype.Float32, curvePoints)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(pointOf(r, i))
	}
	t := evaluate(y, map[*ir.Value]*tensor.Tensor{v: x})
	if t == nil || t.DType != dtype.Float32 || t.Len() != curvePoints {
		return nil
	}
	f := tensor.Of[float32](t)
	for _, y := range f {
		if y-y != 0 {
			return nil
		}
	}
	return f
}

// evaluate computes y from what is known and single constants; nil if that fails.
func evaluate(y *ir.Value, known map[*ir.Value]*tensor.Tensor) *tensor.Tensor {
	if t := known[y]; t != nil {
		return t
	}
	if y.IsConst() {
		return y.Const.Reshape()
	}
	if y.Producer == nil {
		return nil
	}
	in := make([]*tensor.Tensor, len(y.Producer.In))
	for i, v := range y.Producer.In {
		if v == nil {
			continue
		}
		if in[i] = evaluate(v, known); in[i] == nil {
			return nil
		}
	}
	out, err := op.Evaluate(y.Producer, in, nil)
	if err != nil {
		return nil
	}
	known[y] = out[0]
	return out[0]
}

// narrow moves the ends of a range as narrowed says. The step between levels says how
// much clipping is allowed and that gives the ends, hence a step: it is the smallest
// that comes out no larger.
func narrow(r quant.Range, levels int, functions [][]float32) quant.Range {
	const tries = 256
	full := (r.Max - r.Min) / float64(levels)
	ends := func(i int) (a, b int) { // for a step of (i+1)/tries of the full one
		step := float64(i+1) / tries * (curvePoints - 1) / float64(levels)
		a, b = curvePoints-1, 0
		for _, f := range functions {
			allowed := change(f, step/2) / 4
			a, b = min(a, level(f, allowed, 0, 1)), max(b, level(f, allowed, len(f)-1, -1))
		}
		return a, b
	}
	width := func(a, b int) quant.Range {
		return quant.Range{Min: math.Min(pointOf(r, a), 0), Max: math.Max(pointOf(r, b), 0)}
	}
	i := sort.Search(tries-1, func(i int) bool {
		n := width(ends(i))
		return (n.Max-n.Min)/float64(levels) <= full*float64(i+1)/tries
	})
	if n := width(ends(i)); n.Min < n.Max {
		return n
	}
	return r
}

// change is the most by which f changes over a distance in points.
func change(f []float32, distance float64) float64 {
	k := max(1, int(distance))
	most := float32(0)
	for i := k; i < len(f); i++ {
		most = max(most, f[i]-f[i-k], f[i-k]-f[i])
	}
	return float64(most) * math.Min(1, distance)
}

// level is how far from an end all points differ from the one there by no more than
// allowed.
func level(f []float32, allowed float64, from, step int) int {
	lo, hi := f[from], f[from]
	at := from
	for i := from; i >= 0 && i < len(f); i += step {
		lo, hi = min(lo, f[i]), max(hi, f[i])
		if float64(hi-f[i]) <= allowed && float64(f[i]-lo) <= allowed {
			at = i
		}
	}
	return at
}
