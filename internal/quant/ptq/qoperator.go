package ptq

import (
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/match"
	quantpass "github.com/salver-ml/salver/internal/passes/quant"
)

// toOperators spells a QDQ graph by operators on integers where there are such:
// those of ONNX, and onnxruntime's if allowed. The rest stays between
// DequantizeLinear and QuantizeLinear.
func (e *emitter) toOperators() error {
	e.added = nil
	for _, n := range slices.Clone(e.g.Nodes) {
		if n.Op != "QuantizeLinear" || n.Domain != "" || n.In[0].Producer == nil || !match.Private(n.In[0]) {
			continue
		}
		y := e.operator(n.In[0].Producer, n)
		if y == nil {
			continue
		}
		y.Producer.Name = n.In[0].Producer.Name
		y.Name = n.Out[0].Name
		ir.ReplaceUses(n.Out[0], y)
	}
	return e.finish()
}

// dequantizedFrom gives what input i of n is dequantized from: the integers, their scale
// and their zero point.
func dequantizedFrom(n *ir.Node, i int) []*ir.Value {
	v := n.Input(i)
	if v == nil || v.Producer == nil || v.Producer.Op != "DequantizeLinear" || v.Producer.Domain != "" || len(v.Producer.In) != 3 {
		return nil
	}
	return v.Producer.In
}

// contributed are the operators of com.microsoft that take one tensor.
var contributed = map[string]string{"GlobalAveragePool": "QLinearGlobalAveragePool", "Sigmoid": "QLinearSigmoid", "LeakyRelu": "QLinearLeakyRelu"}

// operator gives the result of the integer operator for f, which q quantizes; nil
// if there is none.
func (e *emitter) operator(f, q *ir.Node) *ir.Value {
	x, to := dequantizedFrom(f, 0), q.In[1:]
	if f.Domain != "" || x == nil {
		return nil
	}
	switch f.Op {
	case "Conv", "MatMul":
		w := dequantizedFrom(f, 1)
		if w == nil {
			return nil
		}
		in := slices.Concat(x, w, to)
		if b := f.Input(2); b != nil {
			if b.Producer == nil {
				return nil
			}
			in = append(in, b.Producer.In[0])
		}
		return e.node("", "QLinear"+f.Op, q.Out[0].Name, in, maps.Clone(f.Attrs))
	case "Gemm":
		return e.gemm(f, x, q)
	case "Add", "Mul":
		if b := dequantizedFrom(f, 1); b != nil && e.o.Contrib {
			return e.node(op.Microsoft, "QLinear"+f.Op, q.Out[0].Name, slices.Concat(x, b, to), nil)
		}
		return nil
	case "Concat":
		return e.join(f, q)
	}
	if name := contributed[f.Op]; name != "" && e.o.Contrib {
		return e.node(op.Microsoft, name, q.Out[0].Name, slices.Concat(x, to), maps.Clone(f.Attrs))
	}
	if quantpass.Moves(f) && len(f.Out) == 1 && slices.Equal(x[1:], to) && takes(f, x[0]) {
		in := append([]*ir.Value{x[0]}, f.In[1:]...)
		if f.Op == "Pad" && f.Str("mode") == "constant" {
			for len(in) < 3 {
				in = append(in, nil)
			}
			in[2] = x[2] // what stands for zero
		}
		return e.node("", f.Op, q.Out[0].Name, in, maps.Clone(f.Attrs))
	}
	return nil
}

// takes reports whether n may have v as its first input.
func takes(n *ir.Node, v *ir.Value) bool {
	o := op.Of(n)
	return o != nil && slices.Contains(o.Types[o.In[0].Type], v.Type.DType)
}

func (e *emitter) gemm(f *ir.Node, x []*ir.Value, q *ir.Node) *ir.Value {
	w := dequantizedFrom(f, 1)
	if w == nil || !e.o.Contrib {
		return nil
	}
	in := append(slices.Concat(x, w), nil)
	if b := f.Input(2); b != nil {
		if b.Producer == nil {
			return nil
		}
		in[6] = b.Producer.In[0]
	}
	return e.node(op.Microsoft, "QGemm", q.Out[0].Name, append(in, q.In[1:]...), map[string]*ir.Attr{"transB": f.Attr("transB")})
}

// join is Concat of what has one format, or onnxruntime's of any.
func (e *emitter) join(f, q *ir.Node) *ir.Value {
	to := q.In[1:]
	same := true
	var in []*ir.Value
	all := slices.Clone(to)
	for i := range f.In {
		x := dequantizedFrom(f, i)
		if x == nil {
			return nil
		}
		same = same && slices.Equal(x[1:], to)
		in, all = append(in, x[0]), append(all, x...)
	}
	switch {
	case same:
		return e.node("", "Concat", q.Out[0].Name, in, maps.Clone(f.Attrs))
	case e.o.Contrib:
		return e.node(op.Microsoft, "QLinearConcat", q.Out[0].Name, all, maps.Clone(f.Attrs))
	}
	return nil
}
