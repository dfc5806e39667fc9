package quant

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
)

// Spell writes operators that onnxruntime's quantizer and layout optimizer leave
// behind as those that have kernels and take part in fusions.
var Spell = pass.Pass{
	Name: "spell-contrib", Level: 2,
	Doc:     "onnxruntime's QLinearSoftmax, QLinearReduceMean and QLinearWhere, and its NhwcConv and NhwcMaxPool, are spelled out in operators that have kernels.",
	Rewrite: spell,
}

func spell(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	if n.Domain != op.Microsoft || n.Output(0) == nil {
		return nil, nil
	}
	s := &speller{builder: builder{c: c, n: n}, site: site{c: c, n: n, f: n}}
	switch n.Op {
	case "QLinearSoftmax":
		return s.throughFloats("Softmax", min(max(n.Int("opset"), 1), op.MaxOpset), only(n, "axis")), nil
	case "QLinearReduceMean":
		return s.throughFloats("ReduceMean", 13, only(n, "axes", "keepdims")), nil
	case "QLinearWhere":
		return s.where(), nil
	case "NhwcConv":
		return s.conv(), nil
	case "NhwcMaxPool":
		return s.maxPool(), nil
	}
	return nil, nil
}

// speller makes the nodes of a patch, and their constants.
type speller struct {
	builder
	site site
}

// only gives the attributes that are named, if they are there.
func only(n *ir.Node, names ...string) map[string]*ir.Attr {
	m := map[string]*ir.Attr{}
	for _, name := range names {
		if a, ok := n.Attrs[name]; ok {
			m[name] = a
		}
	}
	return m
}

func (s *speller) patch(y *ir.Value) *ir.Patch {
	return &ir.Patch{Reason: fmt.Sprintf("%s is spelled out", s.n), Add: s.nodes, Replace: []ir.Replacement{{Old: s.n.Out[0], New: y}}}
}

// format reads the scale and zero point that describe the bytes v.
func (s *speller) format(v *ir.Value, scale, zero *ir.Value) (format, bool) {
	f, ok := scalarFormat(scale, zero, v.Type.DType)
	if !ok {
		s.c.Near(s.n, "%q has no constant scale", v.Name)
	}
	return f, ok
}

// throughFloats is an operator of floats between dequantization and quantization.
func (s *speller) throughFloats(name string, opset int, attrs map[string]*ir.Attr) *ir.Patch {
	n := s.n
	x, ok := s.format(n.In[0], n.In[1], n.Input(2))
	y, ok2 := s.format(n.Out[0], n.In[3], n.Input(4))
	if !ok || !ok2 {
		return nil
	}
	v := s.node("", "DequantizeLinear", 13, []*ir.Value{n.In[0], s.site.scale(x), s.site.zero(x)}, nil)
	v = s.node("", name, opset, []*ir.Value{v}, attrs)
	return s.patch(s.node("", "QuantizeLinear", 13, []*ir.Value{v, s.site.scale(y), s.site.zero(y)}, nil))
}

// where chooses among bytes of the result's format.
func (s *speller) where() *ir.Patch {
	n := s.n
	z, ok := s.format(n.Out[0], n.In[7], n.In[8])
	in := []*ir.Value{n.In[0]}
	for _, i := range []int{1, 4} {
		f, known := s.format(n.In[i], n.In[i+1], n.In[i+2])
		if !ok || !known {
			return nil
		}
		q := n.In[i]
		if f != z {
			q = s.node(op.Salver, "QTable", 1, []*ir.Value{q, s.site.constant(q.Name+"_table", requantize(f, z))}, nil)
		}
		in = append(in, q)
	}
	return s.patch(s.node("", "Where", 16, in, nil))
}

func (s *speller) conv() *ir.Patch {
	n := s.n
	rank := len(n.In[0].Type.Shape)
	if rank < 3 {
		return nil
	}
	first, last := []int{0, rank - 1}, []int{0}
	for i := 1; i < rank-1; i++ {
		first, last = append(first, i), append(last, i+1)
	}
	turn := func(v *ir.Value, perm []int) *ir.Value {
		return s.node("", "Transpose", 13, []*ir.Value{v}, map[string]*ir.Attr{"perm": ir.Ints(perm...)})
	}
	in := append([]*ir.Value{turn(n.In[0], first)}, n.In[1:]...)
	y := s.node("", "Conv", 11, in, only(n, windowAttrs...))
	return s.patch(turn(y, append(last, 1)))
}

var windowAttrs = []string{"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"}

// maxPool has our operator's layout.
func (s *speller) maxPool() *ir.Patch {
	n := s.n
	if len(n.In[0].Type.Shape) != 4 {
		return nil
	}
	return s.patch(s.node(op.Salver, "QMaxPool", 1, n.In, only(n, "auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")))
}
