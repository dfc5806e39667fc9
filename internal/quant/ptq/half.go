package ptq

import (
	"context"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// leastHalf is the number of elements from which a constant is stored in 16 bits:
// a Cast takes as much of the file as so many would save.
const leastHalf = 64

// Half stores the weights of a graph in 16 bits, float16 or bfloat16, in place. A
// Cast to float32 stands before what reads them: runtimes compute it once when
// they load the model, and then run as fast and as exactly as with float32. With
// io, inputs and outputs of float32 become of that type too.
//
// A tensor with numbers that float16 does not hold stays as it is; the report
// says so.
func Half(ctx context.Context, g *ir.Graph, to dtype.Type, io bool, o Options) (*report.Report, error) {
	if to != dtype.Float16 && to != dtype.BFloat16 {
		return nil, fmt.Errorf("floats of %s: expected float16 or bfloat16", to)
	}
	if err := Prepare(ctx, g, o); err != nil {
		return nil, err
	}
	if v := g.Opsets[""]; to == dtype.BFloat16 && v < perChannelOpset {
		return nil, fmt.Errorf("the model has opset %d and its operators do not allow a newer one, bfloat16 needs opset %d: export the model again", v, perChannelOpset)
	}
	h := &halver{emitter: newEmitter(&plan{g: g, o: &o}, nil), to: to, done: map[*ir.Value]bool{}}
	h.rep = &report.Report{Method: to.String(), BytesBefore: ConstantBytes(g)}
	nodes := g.Nodes
	h.constants(g)
	if len(h.added) == 0 {
		return nil, fmt.Errorf("nothing can be stored as %s: the model has no constant of %d float32 numbers or more", to, leastHalf)
	}
	if io {
		h.ends()
	}
	g.Nodes = nodes
	if err := h.finish(); err != nil {
		return nil, fmt.Errorf("after conversion: %w", err)
	}
	h.rep.BytesAfter = ConstantBytes(g)
	return h.rep, nil
}

type halver struct {
	*emitter
	to   dtype.Type
	done map[*ir.Value]bool
	rep  *report.Report
}

// constants converts what the nodes of a graph and its subgraphs read.
func (h *halver) constants(g *ir.Graph) {
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v.IsConst() && !h.done[v] && v.Const.DType == dtype.Float32 && v.Const.Len() >= leastHalf {
				h.done[v] = true
				h.constant16(n, v)
			}
		}
		for _, sub := range n.Subgraphs() {
			h.constants(sub)
		}
	}
}

func (h *halver) constant16(n *ir.Node, v *ir.Value) {
	l := report.Layer{Name: n.Name, Op: n.Op, Precision: h.to.String(), Bits: 16}
	t, sqnr, largest := toHalf(v.Const, h.to)
	if l.SQNR = sqnr; t == nil {
		l.Precision, l.Bits, l.SQNR = Float32.String(), 0, report.Exact
		l.Reason = fmt.Sprintf("the constant %q has %g, which %s does not hold", v.Name, largest, h.to)
	} else {
		ir.ReplaceUses(v, h.cast(v.Name, h.constant(v.Name+"_half", t), dtype.Float32))
	}
	h.rep.Layers = append(h.rep.Layers, l)
}

func (h *halver) cast(name string, v *ir.Value, to dtype.Type) *ir.Value {
	return h.node("", "Cast", name, []*ir.Value{v}, map[string]*ir.Attr{"to": ir.Int(int(to))})
}

// ends makes inputs and outputs of float32 such of 16 bits.
func (h *halver) ends() {
	for i, v := range h.g.Inputs {
		if v.Type.DType != dtype.Float32 {
			continue
		}
		in := ir.NewValue(v.Name, ir.Type{DType: h.to, Shape: v.Type.Shape})
		h.g.Inputs[i] = in
		ir.ReplaceUses(v, h.cast(v.Name+"_f", in, dtype.Float32))
	}
	for i, out := range h.g.Outputs {
		if out.Value.Type.DType == dtype.Float32 {
			h.g.SetOutput(i, h.cast(out.Name+"_half", out.Value, h.to))
		}
	}
}

// toHalf rounds float32 numbers to 16 bits; nil if one becomes infinite that was
// not. largest is the largest magnitude.
func toHalf(t *tensor.Tensor, to dtype.Type) (half *tensor.Tensor, sqnr float64, largest float32) {
	round, widen := dtype.F32ToF16, dtype.F16ToF32
	if to == dtype.BFloat16 {
		round, widen = dtype.F32ToBF16, dtype.BF16ToF32
	}
	half = tensor.New(to, t.Shape...)
	signal, noise := 0.0, 0.0
	for i, x := range tensor.Of[float32](t) {
		b := round(x)
		half.Data[2*i], half.Data[2*i+1] = byte(b), byte(b>>8)
		y := widen(b)
		if largest = max(largest, x, -x); math.IsInf(float64(y), 0) && !math.IsInf(float64(x), 0) {
			return nil, 0, largest
		}
		if x != x || math.IsInf(float64(x), 0) {
			continue
		}
		d := float64(y) - float64(x)
		signal, noise = signal+float64(x)*float64(x), noise+d*d
	}
	return half, report.Decibels(signal, noise), largest
}
