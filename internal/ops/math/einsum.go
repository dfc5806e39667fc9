package math

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Einsum", Versions: []int{12}, Doc: "Letters and an ellipsis, which broadcasts; a letter may repeat within a term.",
		In: op.Ports("Inputs:T..."), Out: op.Ports("Output:T"), Types: op.Types{"T": op.Numeric},
		Attrs: op.Attrs{"equation": op.Required(ir.KindString)},
		Infer: inferEinsum, Ref: einsumRef, Rows: rowsEinsum,
		Cases: einsumCases{},
	})
}

type einsumCases struct{}

func (einsumCases) Cases() []op.Case {
	eq := func(s string) map[string]*ir.Attr { return map[string]*ir.Attr{"equation": ir.Str(s)} }
	x := tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2)
	return []op.Case{
		{Name: "product", In: []*tensor.Tensor{x, x}, Attrs: eq("ij, jk -> ik"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{7, 10, 15, 22}, 2, 2)}},
		{Name: "transpose", In: []*tensor.Tensor{x}, Attrs: eq("ij->ji"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 2, 4}, 2, 2)}},
		{Name: "implicit", In: []*tensor.Tensor{x}, Attrs: eq("ba"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 3, 2, 4}, 2, 2)}},
		{Name: "diagonal", In: []*tensor.Tensor{x}, Attrs: eq("ii->i"), Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 4})}},
		{Name: "sum", In: []*tensor.Tensor{x}, Attrs: eq("ij->"), Out: []*tensor.Tensor{tensor.Scalar[float32](10)}},
		{Name: "ellipsis", In: []*tensor.Tensor{ramp([]int{2, 3, 4}, 1), ramp([]int{2, 4, 5}, 1)}, Attrs: eq("...ij,...jk->...ik")},
		{Name: "attention", In: []*tensor.Tensor{ramp([]int{2, 3, 2, 4}, 1), ramp([]int{2, 5, 2, 4}, 1)}, Attrs: eq("bqhd,bkhd->bhqk")},
		{Name: "outer", In: []*tensor.Tensor{tensor.FromSlice([]int64{1, 2}), tensor.FromSlice([]int64{3, 4})}, Attrs: eq("i,j"), Out: []*tensor.Tensor{tensor.FromSlice([]int64{3, 4, 6, 8}, 2, 2)}},
	}
}

// einsum is a resolved equation: each dimension of each term has an index.
// Dimensions of the ellipsis have the indices -1, -2, … counted from the last.
type einsum struct {
	terms  [][]int
	output []int
}

// parseEinsum reads an equation for terms of the given ranks.
func parseEinsum(equation string, ranks []int) (*einsum, error) {
	left, right, explicit := strings.Cut(strings.ReplaceAll(equation, " ", ""), "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(ranks) {
		return nil, fmt.Errorf("equation %q has %d terms, expected one for each of %d inputs", equation, len(terms), len(ranks))
	}
	e := &einsum{}
	most := 0
	for i, t := range terms {
		ix, dots, err := indices(t, ranks[i])
		if err != nil {
			return nil, fmt.Errorf("equation %q: term %q: %w", equation, t, err)
		}
		most = max(most, dots)
		e.terms = append(e.terms, ix)
	}
	if explicit {
		n := len(strings.ReplaceAll(right, "...", ""))
		if strings.Contains(right, "...") {
			n += most
		}
		ix, _, err := indices(right, n)
		if err != nil {
			return nil, fmt.Errorf("equation %q: output: %w", equation, err)
		}
		e.output = ix
	} else {
		e.output = implicitOutput(e.terms, most)
	}
	return e, e.check(equation)
}

// implicitOutput is the ellipsis, then the letters that occur once, sorted.
func implicitOutput(terms [][]int, dots int) []int {
	out := []int{}
	for k := dots; k > 0; k-- {
		out = append(out, -k)
	}
	count := map[int]int{}
	for _, t := range terms {
		for _, x := range t {
			count[x]++
		}
	}
	var letters []int
	for x, n := range count {
		if x >= 0 && n == 1 {
			letters = append(letters, x)
		}
	}
	slices.Sort(letters)
	return append(out, letters...)
}

func (e *einsum) check(equation string) error {
	for i, x := range e.output {
		if slices.Contains(e.output[:i], x) {
			return fmt.Errorf("equation %q: the output has an index twice", equation)
		}
		if !slices.ContainsFunc(e.terms, func(t []int) bool { return slices.Contains(t, x) }) {
			return fmt.Errorf("equation %q: an index of the output is in no term", equation)
		}
	}
	return nil
}

// indices reads one term; dots is the number of dimensions of its ellipsis.
func indices(term string, rank int) (ix []int, dots int, err error) {
	letters := strings.Replace(term, "...", "", 1)
	hasDots := len(letters) != len(term)
	if dots = rank - len(letters); dots < 0 || !hasDots && dots != 0 {
		return nil, 0, fmt.Errorf("has %d letters for %d dimensions", len(letters), rank)
	}
	ix = []int{}
	for term != "" {
		if strings.HasPrefix(term, "...") {
			for k := dots; k > 0; k-- {
				ix = append(ix, -k)
			}
			term = term[3:]
			continue
		}
		c := term[0]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return nil, 0, fmt.Errorf("has %q, expected letters or one ...", c)
		}
		ix = append(ix, int(c))
		term = term[1:]
	}
	return ix, dots, nil
}

func inferEinsum(c *op.Infer) error {
	ranks := make([]int, len(c.In))
	for i, f := range c.In {
		if f.Shape == nil {
			c.Set(0, c.In[0].DType, nil)
			return nil
		}
		ranks[i] = len(f.Shape)
	}
	e, err := parseEinsum(c.Node.Str("equation"), ranks)
	if err != nil {
		return err
	}
	size := map[int]shape.Shape{}
	for i, t := range e.terms {
		for d, x := range t {
			one := shape.Shape{c.In[i].Shape[d]}
			if have, ok := size[x]; ok {
				if one, err = shape.Broadcast(have, one); err != nil {
					return fmt.Errorf("equation %q: input %d has shape %v: %w", c.Node.Str("equation"), i, c.In[i].Shape, err)
				}
			}
			size[x] = one
		}
	}
	out := shape.Shape{}
	for _, x := range e.output {
		out = append(out, size[x][0])
	}
	c.Set(0, c.In[0].DType, out)
	return nil
}

func einsumRef(c *op.Call) error {
	ranks := make([]int, len(c.In))
	for i, t := range c.In {
		ranks[i] = len(t.Shape)
	}
	e, err := parseEinsum(c.Node.Str("equation"), ranks)
	if err != nil {
		return err
	}
	size := map[int]int{}
	for i, t := range e.terms {
		for d, x := range t {
			n := c.In[i].Shape[d]
			if have, ok := size[x]; ok && have != n && have != 1 && n != 1 {
				return fmt.Errorf("equation %q: input %d is %s, which gives an index size %d where another has %d", c.Node.Str("equation"), i, c.In[i], n, have)
			}
			if have, ok := size[x]; !ok || have == 1 {
				size[x] = n
			}
		}
	}
	dims := []int{}
	for _, x := range e.output {
		dims = append(dims, size[x])
	}
	y := c.Output(0, c.In[0].DType, dims...)
	if y.DType.IsInt() {
		num.SetInt64s(y, sumProducts(e, c.In, size, dims, num.Int64s))
	} else {
		num.SetFloats(y, sumProducts(e, c.In, size, dims, num.Floats))
	}
	return nil
}

// sumProducts walks all outputs and, for each, all values of the other indices.
func sumProducts[T int64 | float64](e *einsum, in []*tensor.Tensor, size map[int]int, dims []int, read func(*tensor.Tensor) []T) []T {
	var summed []int
	for x := range size {
		if !slices.Contains(e.output, x) {
			summed = append(summed, x)
		}
	}
	slices.Sort(summed)
	inner := make([]int, len(summed))
	for i, x := range summed {
		inner[i] = size[x]
	}
	out := make([]T, tensor.Count(dims))
	values, outer, along := make([][]T, len(in)), make([][]int, len(in)), make([][]int, len(in))
	for i, t := range in {
		values[i] = read(t)
		outer[i] = num.Index(dims, e.strides(i, t, e.output))
		along[i] = num.Index(inner, e.strides(i, t, summed))
	}
	if len(in) == 2 && tensor.Count(inner) > 0 {
		sumPairs(out, values, outer, along)
		return out
	}
	for o := range out {
		for k := range along[0] {
			p := T(1)
			for i, v := range values {
				p *= v[outer[i][o]+along[i][k]]
			}
			out[o] += p
		}
	}
	return out
}

// sumPairs is sumProducts of two inputs: four outputs at a time, as each sum waits for its last addition.
func sumPairs[T int64 | float64](out []T, values [][]T, outer, along [][]int) {
	first, second := along[0], along[1][:len(along[0])]
	at := func(i, o int) []T { return values[i][outer[i][min(o, len(out)-1)]:] }
	for o := 0; o < len(out); o += 4 {
		var sums [4]T
		a0, a1, a2, a3 := at(0, o), at(0, o+1), at(0, o+2), at(0, o+3)
		b0, b1, b2, b3 := at(1, o), at(1, o+1), at(1, o+2), at(1, o+3)
		for k, i := range first {
			j := second[k]
			sums[0] += T(a0[i] * b0[j])
			sums[1] += T(a1[i] * b1[j])
			sums[2] += T(a2[i] * b2[j])
			sums[3] += T(a3[i] * b3[j])
		}
		copy(out[o:], sums[:])
	}
}

// strides are those of input i along the given indices: a repeated letter
// walks the diagonal.
func (e *einsum) strides(i int, t *tensor.Tensor, along []int) []int {
	own := tensor.Strides(t.Shape)
	s := make([]int, len(along))
	for k, x := range along {
		for d, y := range e.terms[i] {
			if x == y && t.Shape[d] != 1 {
				s[k] += own[d]
			}
		}
	}
	return s
}

// rowsEinsum: the batch's index is in the output and is not summed.
func rowsEinsum(n *ir.Node, in []int) ([]int, bool) {
	ranks := make([]int, len(n.In))
	for i, v := range n.In {
		if v.Type.Shape == nil {
			return nil, false
		}
		ranks[i] = len(v.Type.Shape)
	}
	e, err := parseEinsum(n.Str("equation"), ranks)
	if err != nil {
		return nil, false
	}
	batch, found := 0, false
	for i, a := range in {
		if a == op.NoRows {
			continue
		}
		if found && e.terms[i][a] != batch {
			return nil, false
		}
		batch, found = e.terms[i][a], true
	}
	for i, t := range e.terms {
		for d, x := range t {
			if x == batch && d != in[i] && !n.In[i].Type.Shape[d].Is(1) {
				return nil, false
			}
		}
	}
	at := slices.Index(e.output, batch)
	return []int{at}, found && at >= 0
}
