package fuse

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Einsum writes sums of products as matrix products.
var Einsum = pass.Pass{
	Name: "einsum-to-matmul", Level: 1,
	Doc: "Einsum of two tensors becomes a MatMul, or a Mul where nothing is summed, with the ReduceSums, Transposes and Reshapes around it that the equation needs. " +
		"Of more tensors, the two with the smallest product are multiplied first. Expands serve sizes that are not known to be equal.",
	Rewrite: einsum,
}

func einsum(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Einsum") || !isFloat(n.Out[0]) {
		return nil, nil
	}
	e, why := readEquation(n)
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	b := &einsumBuilder{c: c, sizes: e.sizes}
	var out *ir.Value
	reason := fmt.Sprintf("%s multiplies %q as matrices", n, n.Str("equation"))
	switch len(e.in) {
	case 1:
		x, indices := b.sum(n.In[0], e.in[0], e.out)
		out, reason = b.transpose(x, indices, e.out), fmt.Sprintf("%s sums and transposes by %q", n, n.Str("equation"))
	case 2:
		x, first := b.sum(b.match(n, e, 0), e.in[0], e.in[1]+e.out)
		y, second := b.sum(b.match(n, e, 1), e.in[1], e.in[0]+e.out)
		parts := newEinsumParts(first, second, e.out)
		if parts.inner == "" {
			out, reason = b.node("Mul", nil, b.spread(x, first, e.out), b.spread(y, second, e.out)), fmt.Sprintf("%s sums nothing by %q", n, n.Str("equation"))
			break
		}
		out = b.product(x, y, parts)
	default:
		out, reason = b.split(n, e), fmt.Sprintf("%s has %d operands", n, len(e.in))
	}
	if b.why != "" {
		c.Near(n, "%s", b.why)
		(&ir.Patch{Add: b.nodes}).Discard()
		return nil, nil
	}
	return &ir.Patch{Reason: reason, Add: b.nodes, Replace: []ir.Replacement{{Old: n.Out[0], New: out}}}, nil
}

// einsumParts are the indices of an equation of two operands by where they occur.
type einsumParts struct {
	in                          [2]string
	out                         string
	batch, rows, inner, columns string // in all three; the first and the result; both operands; the second and the result
}

// newEinsumParts sorts the indices; none is in one operand alone.
func newEinsumParts(first, second, out string) *einsumParts {
	e := &einsumParts{in: [2]string{first, second}, out: out}
	for _, x := range out + first + second {
		index := string(x)
		if strings.Contains(e.batch+e.rows+e.inner+e.columns, index) {
			continue
		}
		switch a, b, c := strings.Contains(first, index), strings.Contains(second, index), strings.Contains(out, index); {
		case a && b && c:
			e.batch += index
		case a && c:
			e.rows += index
		case b && c:
			e.columns += index
		default:
			e.inner += index
		}
	}
	return e
}

// einsumBuilder makes the nodes of a product.
type einsumBuilder struct {
	c     *pass.Context
	sizes map[byte]shape.Dim
	nodes []*ir.Node
	why   string // what could not be written
}

func (b *einsumBuilder) node(name string, attrs map[string]*ir.Attr, in ...*ir.Value) *ir.Value {
	y := b.c.Value("einsum")
	b.nodes = append(b.nodes, ir.NewNode("", name, op.MaxOpset, in, []*ir.Value{y}, attrs))
	return y
}

// product multiplies. Where there is no batch, rows stay as many dimensions as they are.
func (b *einsumBuilder) product(x, y *ir.Value, e *einsumParts) *ir.Value {
	if e.batch != "" && b.unknown(e.rows) > 1 {
		return b.repeated(x, y, e)
	}
	x = b.transpose(x, e.in[0], e.batch+e.rows+e.inner)
	y = b.transpose(y, e.in[1], e.batch+e.inner+e.columns)
	if e.batch == "" {
		return b.transpose(b.alone(x, y, e), e.rows+e.columns, e.out)
	}
	if len(e.rows) != 1 || len(e.inner) != 1 {
		x = b.reshape(x, len(e.batch), e.rows, e.inner)
	}
	if len(e.inner) != 1 || len(e.columns) != 1 {
		y = b.reshape(y, len(e.batch), e.inner, e.columns)
	}
	z := b.node("MatMul", nil, x, y)
	if len(e.rows) != 1 || len(e.columns) != 1 {
		z = b.apart(z, len(e.batch), e.rows+e.columns)
	}
	return b.transpose(z, e.batch+e.rows+e.columns, e.out)
}

// unknown counts the indices whose sizes are not known.
func (b *einsumBuilder) unknown(indices string) (n int) {
	for _, i := range []byte(indices) {
		if open(b.sizes[i]) {
			n++
		}
	}
	return n
}

// repeated multiplies where rows can't be merged, as their sizes are not known: all but the last
// go before the batch, and MatMul repeats [batch…, inner…, columns…] (y) for them.
func (b *einsumBuilder) repeated(x, y *ir.Value, e *einsumParts) *ir.Value {
	last := len(e.rows) - 1
	first := e.rows[:last] + e.batch
	x = b.transpose(x, e.in[0], first+e.rows[last:]+e.inner)
	y = b.transpose(y, e.in[1], e.batch+e.inner+e.columns)
	if len(e.inner) != 1 {
		x = b.reshape(x, len(first)+1, e.inner)
	}
	if len(e.inner) != 1 || len(e.columns) != 1 {
		y = b.reshape(y, len(e.batch), e.inner, e.columns)
	}
	z := b.node("MatMul", nil, x, y)
	if len(e.columns) != 1 {
		z = b.apart(z, len(first)+1, e.columns)
	}
	return b.transpose(z, first+e.rows[last:]+e.columns, e.out)
}

// alone multiplies [rows…, inner…] by [inner…, columns…].
func (b *einsumBuilder) alone(x, y *ir.Value, e *einsumParts) *ir.Value {
	if len(e.inner) > 1 {
		x = b.reshape(x, len(e.rows), e.inner)
	}
	switch {
	case e.columns == "" && len(e.inner) > 1:
		y = b.reshape(y, 0, e.inner)
	case len(e.columns) > 1 || e.columns != "" && len(e.inner) > 1:
		y = b.reshape(y, 0, e.inner, e.columns)
	}
	z := b.node("MatMul", nil, x, y)
	if len(e.columns) > 1 {
		z = b.apart(z, len(e.rows), e.columns)
	}
	return z
}

// apart gives each of some indices a dimension again, behind those that are kept.
func (b *einsumBuilder) apart(z *ir.Value, keep int, indices string) *ir.Value {
	to := make([]int64, keep)
	for _, i := range []byte(indices) {
		to = append(to, b.size(b.sizes[i]))
	}
	return b.reshapeTo(z, to)
}

// match is an operand, repeated along the indices whose sizes may differ from the other's where it is 1. Where the other's
// is 1, Expand changes nothing.
func (b *einsumBuilder) match(n *ir.Node, e *equation, operand int) *ir.Value {
	x, other := n.In[operand], n.In[1-operand]
	for _, index := range []byte(e.differ) {
		from := strings.IndexByte(e.in[1-operand], index)
		size := b.node("Shape", map[string]*ir.Attr{"start": ir.Int(from), "end": ir.Int(from + 1)}, other)
		after := len(e.in[operand]) - 1 - strings.IndexByte(e.in[operand], index)
		if after > 0 { // fewer dimensions than x has are its last ones
			ones := ir.NewConst(b.c.Name("ones"), tensor.FromSlice(slices.Repeat([]int64{1}, after), after))
			size = b.node("Concat", map[string]*ir.Attr{"axis": ir.Int(0)}, size, ones)
		}
		x = b.node("Expand", nil, x, size)
	}
	return x
}

// sum adds up along the indices of x that are not kept.
func (b *einsumBuilder) sum(x *ir.Value, indices, keep string) (*ir.Value, string) {
	var axes []int64
	rest := ""
	for i, index := range indices {
		if strings.ContainsRune(keep, index) {
			rest += string(index)
		} else {
			axes = append(axes, int64(i))
		}
	}
	if axes != nil {
		x = b.node("ReduceSum", map[string]*ir.Attr{"keepdims": ir.Int(0)}, x, ir.NewConst(b.c.Name("axes"), tensor.FromSlice(axes, len(axes))))
	}
	return x, rest
}

// spread gives x the dimensions of the result, of size 1 where it has no such index.
func (b *einsumBuilder) spread(x *ir.Value, indices, out string) *ir.Value {
	var axes []int64
	own := ""
	for i, index := range out {
		if strings.ContainsRune(indices, index) {
			own += string(index)
		} else {
			axes = append(axes, int64(i))
		}
	}
	x = b.transpose(x, indices, own)
	if axes != nil {
		x = b.node("Unsqueeze", nil, x, ir.NewConst(b.c.Name("axes"), tensor.FromSlice(axes, len(axes))))
	}
	return x
}

// split multiplies the two operands with the smallest product, and then that with the others.
func (b *einsumBuilder) split(n *ir.Node, e *equation) *ir.Value {
	i, j, indices := e.smallest()
	var in []*ir.Value
	var terms []string
	for k, v := range n.In {
		if k != i && k != j {
			in, terms = append(in, v), append(terms, e.in[k])
		}
	}
	name := func(terms []string, out string) map[string]*ir.Attr {
		return map[string]*ir.Attr{"equation": ir.Str(strings.Join(terms, ",") + "->" + out)}
	}
	z := b.node("Einsum", name([]string{e.in[i], e.in[j]}, indices), n.In[i], n.In[j])
	return b.node("Einsum", name(append([]string{indices}, terms...), e.out), append([]*ir.Value{z}, in...)...)
}

func (b *einsumBuilder) transpose(x *ir.Value, from, to string) *ir.Value {
	if from == to {
		return x
	}
	perm := make([]int, len(to))
	for i := range len(to) {
		perm[i] = strings.IndexByte(from, to[i])
	}
	return b.node("Transpose", map[string]*ir.Attr{"perm": ir.Ints(perm...)}, x)
}

// reshape keeps the first dimensions of x, and gives each group of indices one.
func (b *einsumBuilder) reshape(x *ir.Value, keep int, groups ...string) *ir.Value {
	to := make([]int64, keep, keep+len(groups)) // 0 keeps a dimension
	for _, g := range groups {
		size := shape.Const(1)
		for _, i := range []byte(g) {
			size = size.Mul(b.sizes[i])
		}
		to = append(to, b.size(size))
	}
	return b.reshapeTo(x, to)
}

// size is a dimension as Reshape takes it: -1 where it is not known.
func (b *einsumBuilder) size(d shape.Dim) int64 {
	if n, ok := d.Int(); ok {
		if n == 0 {
			b.why = "a dimension is empty"
		}
		return int64(n)
	}
	return -1
}

func (b *einsumBuilder) reshapeTo(x *ir.Value, to []int64) *ir.Value {
	if first := slices.Index(to, -1); first >= 0 && slices.Contains(to[first+1:], -1) {
		b.why = "two dimensions that have to be merged or parted are of unknown size"
	}
	return b.node("Reshape", nil, x, ir.NewConst(b.c.Name("shape"), tensor.FromSlice(to, len(to))))
}
