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

// Einsum writes sums of products of two tensors as matrix products.
var Einsum = pass.Pass{
	Name: "einsum-to-matmul", Level: 1,
	Doc:     "Einsum of two tensors becomes a MatMul, with the Transposes and Reshapes around it that the equation needs.",
	Rewrite: einsum,
}

func einsum(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if !n.Is("Einsum") || len(n.In) != 2 || !isFloat(n.Out[0]) || n.In[0].Type.Shape == nil || n.In[1].Type.Shape == nil {
		return nil, nil
	}
	e, why := readEinsum(n)
	if why != "" {
		c.Near(n, "%s", why)
		return nil, nil
	}
	b := &einsumBuilder{c: c, sizes: e.sizes}
	out := b.product(n.In[0], n.In[1], e)
	if b.why != "" {
		c.Near(n, "%s", b.why)
		(&ir.Patch{Add: b.nodes}).Discard()
		return nil, nil
	}
	return &ir.Patch{Reason: fmt.Sprintf("%s multiplies %q as matrices", n, n.Str("equation")), Add: b.nodes, Replace: []ir.Replacement{{Old: n.Out[0], New: out}}}, nil
}

// einsumParts are the indices of an equation by where they occur.
type einsumParts struct {
	in                          [2]string
	out                         string
	batch, rows, inner, columns string // in all three; the first and the result; both operands; the second and the result
	sizes                       map[byte]shape.Dim
}

// readEinsum sorts the indices, or says what is in the way.
func readEinsum(n *ir.Node) (e *einsumParts, why string) {
	equation := strings.ReplaceAll(n.Str("equation"), " ", "")
	left, out, explicit := strings.Cut(equation, "->")
	in := strings.Split(left, ",")
	if !explicit || len(in) != 2 || strings.Contains(equation, ".") {
		return nil, fmt.Sprintf("the equation %q has an ellipsis or no result", equation)
	}
	e = &einsumParts{in: [2]string{in[0], in[1]}, out: out, sizes: map[byte]shape.Dim{}}
	for k, indices := range e.in {
		s := n.In[k].Type.Shape
		if len(s) != len(indices) {
			return nil, fmt.Sprintf("operand %d has %d dimensions, %q %d indices", k, len(s), indices, len(indices))
		}
		for i := range len(indices) {
			x := indices[i]
			if strings.Count(indices, string(x)) > 1 {
				return nil, fmt.Sprintf("the equation %q repeats an index in an operand", equation)
			}
			if d, seen := e.sizes[x]; seen && !d.Equal(s[i]) {
				return nil, fmt.Sprintf("index %c has sizes %s and %s", x, d, s[i])
			}
			e.sizes[x] = s[i]
		}
	}
	for _, x := range out + in[0] + in[1] {
		index := string(x)
		if strings.Contains(e.batch+e.rows+e.inner+e.columns, index) {
			continue
		}
		switch a, b, c := strings.Contains(in[0], index), strings.Contains(in[1], index), strings.Contains(out, index); {
		case a && b && c:
			e.batch += index
		case a && c:
			e.rows += index
		case b && c:
			e.columns += index
		case a && b:
			e.inner += index
		default:
			return nil, fmt.Sprintf("the equation %q sums an index of one operand alone", equation)
		}
	}
	if e.inner == "" {
		return nil, fmt.Sprintf("the equation %q sums nothing", equation)
	}
	return e, ""
}

// einsumBuilder makes the nodes of a product.
type einsumBuilder struct {
	c     *pass.Context
	sizes map[byte]shape.Dim
	nodes []*ir.Node
	why   string // what could not be written
}

func (b *einsumBuilder) node(name string, attrs map[string]ir.Attr, in ...*ir.Value) *ir.Value {
	y := b.c.Value("einsum")
	b.nodes = append(b.nodes, ir.NewNode("", name, op.MaxOpset, in, []*ir.Value{y}, attrs))
	return y
}

// product multiplies. Where there is no batch, rows stay as many dimensions as they are.
func (b *einsumBuilder) product(x, y *ir.Value, e *einsumParts) *ir.Value {
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

func (b *einsumBuilder) transpose(x *ir.Value, from, to string) *ir.Value {
	if from == to {
		return x
	}
	perm := make([]int, len(to))
	for i := range len(to) {
		perm[i] = strings.IndexByte(from, to[i])
	}
	return b.node("Transpose", map[string]ir.Attr{"perm": ir.Ints(perm...)}, x)
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
