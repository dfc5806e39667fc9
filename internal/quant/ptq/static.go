package ptq

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/upgrade"
	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/quant/report"
)

// wideOpset is the opset from which QuantizeLinear has types of 16 bits.
const wideOpset = 21

// Apply gives a quantized copy of a prepared graph, which stays as it is, and
// what was done to each node with weights. It fails if nothing can be quantized.
func Apply(g *ir.Graph, c *Calibration, o Options) (*ir.Graph, *report.Report, error) {
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	g = g.Clone()
	p := newPlan(g, &o, func(v *ir.Value) bool { return c.observer(v) != nil })
	maps, err := p.fit(c)
	if err != nil {
		return nil, nil, err
	}
	e := newEmitter(p, maps)
	e.chooseWide()
	rep := &report.Report{Method: "static", Calibrator: c.Calibrator, Samples: c.Samples, BytesBefore: ConstantBytes(g)}
	nodes := g.Nodes
	e.quantizeValues()
	done := 0
	for _, n := range nodes {
		w, err := e.quantizeNode(n)
		if err != nil {
			return nil, nil, err
		}
		if w != nil {
			done++
		}
		e.describe(rep, n, w)
	}
	inside, err := e.quantizeInside(g, rep)
	if err != nil {
		return nil, nil, err
	}
	if done+inside == 0 {
		return nil, nil, nothing(rep)
	}
	if err := e.finish(); err != nil {
		return nil, nil, fmt.Errorf("after quantization: %w", err)
	}
	if o.Format == QOperator {
		if err := e.toOperators(); err != nil {
			return nil, nil, fmt.Errorf("after quantization: %w", err)
		}
	}
	rep.BytesAfter = ConstantBytes(g)
	rep.Warnings = c.flatWarnings(p.seen)
	return g, rep, nil
}

// nothing says why nothing was quantized.
func nothing(rep *report.Report) error {
	for _, l := range rep.Layers {
		if l.Reason != "" {
			return fmt.Errorf("nothing can be quantized; of %s %q: %s", l.Op, l.Name, l.Reason)
		}
	}
	return errNothing
}

func (e *emitter) quantizeNode(n *ir.Node) (*weights, error) {
	switch {
	case e.role[n] == roleEmbed:
		return e.quantizeRows(n)
	case e.role[n] == roleStored:
		return e.quantizeStored(n)
	case e.integer[n] && e.role[n].weighted():
		return e.quantizeOperator(n)
	}
	return nil, nil
}

// chooseWide moves the graph to the opset that quantizes to 16 bits, if something
// is; where that is not possible onnxruntime's own operators do it.
func (e *emitter) chooseWide() {
	for _, t := range e.types {
		if t.Bits() != 16 || e.g.Opsets[""] >= wideOpset || e.wide != "" {
			continue
		}
		if upgrade.Opset(e.g, wideOpset) != nil {
			e.wide = op.Microsoft
		}
	}
}

// describe reports a node with weights.
func (e *emitter) describe(rep *report.Report, n *ir.Node, w *weights) {
	reason := e.reason[n]
	if w == nil && reason == "" {
		return
	}
	l := report.Layer{Name: n.Name, Op: n.Op, Precision: Float32.String(), Reason: reason}
	if w != nil {
		precision, _ := e.o.precision(n)
		l.Precision, l.SQNR = precision.String(), w.sqnr
		l.Bits = 8 + float64(32*len(w.maps))/float64(max(1, w.data.Len()))
		if x := e.inputs[n][0]; e.types[x] != dtype.Invalid && e.maps != nil {
			e.describeInput(&l, x)
		}
	}
	rep.Layers = append(rep.Layers, l)
}

func (e *emitter) describeInput(l *report.Layer, x *ir.Value) {
	m := e.maps[x]
	lowest, highest, err := quant.Limits(m.Type)
	if err != nil {
		return
	}
	l.Range = &quant.Range{Min: float64(m.Dequantize(lowest)), Max: float64(m.Dequantize(highest))}
	l.Scale, l.Zero = m.Scale, m.Zero
	if seen := e.seen[e.source(x)]; seen != nil {
		l.Histogram = seen.Histogram()
	}
}

// ConstantBytes is the size of all constants of a graph, each once.
func ConstantBytes(g *ir.Graph) int64 {
	var total int64
	seen := map[*ir.Value]bool{}
	for _, n := range g.Nodes {
		for _, v := range n.In {
			if v.IsConst() && !seen[v] {
				seen[v] = true
				total += int64(len(v.Const.Data))
			}
		}
		for _, sub := range n.Subgraphs() {
			total += ConstantBytes(sub)
		}
	}
	return total
}
