package nbits

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/upgrade"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/tensor"
)

// portableOpset is the first in which DequantizeLinear has blocks and 4 bits.
const portableOpset = 21

// Quantize changes a graph in place. The graph is as ptq.Prepare leaves it.
func Quantize(ctx context.Context, g *ir.Graph, o Options) (*report.Report, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	if o.Portable || o.Scheme.Kind == weight.E4M3 || o.Scheme.Kind == weight.E5M2 {
		if g.Opsets[""] < portableOpset {
			if err := upgrade.Opset(g, portableOpset); err != nil {
				return nil, fmt.Errorf("few bits in standard operators need opset %d: %w", portableOpset, err)
			}
		}
	}
	list, left := find(g, &o)
	if len(list) == 0 {
		return nil, errors.New("nothing can be quantized: the model has no MatMul or Gemm with constant weights of float32 or float16 that are large enough")
	}
	q := &quantizer{ctx: ctx, g: g, o: &o, emit: newEmitter(g, &o), groups: byInput(list), count: len(list), rep: &report.Report{Method: o.Method.String(), Layers: left}}
	if o.Samples != nil {
		q.rep.Samples = o.Samples.Len()
	}
	if err := q.run(); err != nil {
		return nil, err
	}
	q.rep.BytesBefore, q.rep.BytesAfter = q.emit.before, q.emit.after
	return q.rep, nil
}

// quantizer is a graph in work.
type quantizer struct {
	ctx    context.Context
	g      *ir.Graph
	o      *Options
	emit   *emitter
	groups [][]*layer
	rep    *report.Report

	done, count int // layers, where there are no samples
}

// run quantizes all groups, in waves of what is gathered at a time.
func (q *quantizer) run() error {
	waves := q.waves()
	source := q.g
	if q.o.Samples != nil && !q.o.Sequential {
		source = q.g.Clone() // as it was
	}
	steps := 1
	if q.o.Samples != nil {
		steps += q.o.Samples.Len()
	}
	for i, wave := range waves {
		seen, err := q.gather(source, wave, func(done int) { q.o.told(i*steps+done, len(waves)*steps) })
		if err != nil {
			return err
		}
		for j, group := range wave {
			if err := q.ctx.Err(); err != nil {
				return context.Cause(q.ctx)
			}
			if err := q.group(group, seen[j]); err != nil {
				return err
			}
			seen[j] = nil
		}
		if err := q.g.Sort(); err != nil {
			return err
		}
		if q.o.Samples != nil {
			q.o.told((i+1)*steps, len(waves)*steps)
		}
	}
	return nil
}

// want is what is gathered for a method.
func (o *Options) want() weight.Want {
	if o.Method == GPTQ {
		return weight.WantHessian | weight.WantRows
	}
	return weight.WantRows
}

// waves cuts the groups into those that are gathered together.
func (q *quantizer) waves() (waves [][][]*layer) {
	if q.o.Samples == nil {
		return [][][]*layer{q.groups}
	}
	var total int64
	for _, group := range q.groups {
		n := q.o.want().Bytes(group[0].cols)
		if len(waves) == 0 || total+n > q.o.Memory || q.o.Sequential {
			waves, total = append(waves, nil), 0
		}
		total += n
		waves[len(waves)-1] = append(waves[len(waves)-1], group)
	}
	return waves
}

// gather runs the graph on all samples, and gives what each group of a wave reads,
// nil without samples and for tables.
func (q *quantizer) gather(g *ir.Graph, wave [][]*layer, told func(done int)) ([]*weight.Activations, error) {
	seen := make([]*weight.Activations, len(wave))
	if q.o.Samples == nil {
		return seen, nil
	}
	var names []string
	var of []*weight.Activations
	for i, group := range wave {
		if l := group[0]; !l.table {
			seen[i] = weight.NewActivations(l.cols, q.o.want())
			names, of = append(names, l.input), append(of, seen[i])
		}
	}
	if len(names) == 0 {
		return seen, nil
	}
	see := func(out []*tensor.Tensor) error {
		for i, t := range out {
			if err := of[i].Add(floatsOf(t), q.o.Pool); err != nil {
				return fmt.Errorf("activation %q: %w", names[i], err)
			}
		}
		return nil
	}
	return seen, ptq.Run(q.ctx, g, q.o.Samples, names, see, q.o.Pool, told)
}

// group quantizes the layers that read the same value.
func (q *quantizer) group(group []*layer, a *weight.Activations) error {
	ms := make([]weight.Matrix, len(group))
	for i, l := range group {
		ms[i] = l.matrix()
	}
	scales, err := q.scales(group, ms, a)
	if err != nil {
		return fmt.Errorf("%s: %w", group[0].node, err)
	}
	for i, l := range group {
		e, err := q.layer(l, ms[i], a, scales)
		if err != nil {
			return fmt.Errorf("%s: %w", l.node, err)
		}
		q.rep.Layers = append(q.rep.Layers, e)
		if q.o.Samples == nil {
			q.done++
			q.o.told(q.done, q.count)
		}
	}
	return nil
}

// layer quantizes one layer. Weights that were quantized for another node stay as
// they are.
func (q *quantizer) layer(l *layer, w weight.Matrix, a *weight.Activations, scales []float32) (e report.Layer, err error) {
	s, known := q.emit.known(l)
	if !known {
		s = q.o.scheme(l)
	}
	e = report.Layer{Name: l.node.Name, Op: l.node.Op, Precision: s.String(), Bits: s.BitsPerWeight(l.cols)}
	if known {
		e.Reason = "its weights are those of another node"
		return e, q.emit.layer(l, s, nil)
	}
	scaled := w
	if scales != nil {
		scaled = w.ScaleColumns(scales)
	}
	done, note, err := q.quantize(l, scaled, a, scales, s)
	if err != nil {
		return e, err
	}
	e.Reason = note
	if e.SQNR, err = q.sqnr(w, done, scales, a); err != nil {
		return e, err
	}
	return e, q.emit.layer(l, s, done)
}

// scales searches AWQ's, and makes the input of the group that divided by them.
func (q *quantizer) scales(group []*layer, ms []weight.Matrix, a *weight.Activations) ([]float32, error) {
	if q.o.Method != AWQ || a == nil || group[0].table {
		return nil, nil
	}
	for _, l := range group {
		// Other nodes read or, before they were replaced, have read them, with other inputs.
		if _, known := q.emit.known(l); known || len(l.weights.Uses()) > 1 {
			return nil, nil
		}
	}
	found, err := weight.AWQ(q.ctx, ms, a, q.o.scheme(group[0]), nil, q.o.Pool)
	if err != nil {
		return nil, err
	}
	if found.Best > worthwhile*found.RTN {
		return nil, nil
	}
	return found.Scales, q.emit.divide(group, found.Scales)
}

// worthwhile is what part of the error AWQ's scales may leave: dividing the input
// by them takes time.
const worthwhile = .98

// quantize chooses the codes of one matrix. note is what is worth to be told.
func (q *quantizer) quantize(l *layer, w weight.Matrix, a *weight.Activations, scales []float32, s weight.Scheme) (done *weight.Quantized, note string, err error) {
	clip := weight.RTNOptions{Clip: weight.MSE}
	if q.o.MinMax {
		clip.Clip = weight.MinMax
	}
	switch {
	case l.table:
		s.FloatZero = false
		done, err = weight.RTN(w, s, clip, q.o.Pool)
	case q.o.Method == HQQ:
		done, err = weight.HQQ(q.ctx, w, s, q.o.Pool)
	case q.o.Method == AWQ && s.Group > 0:
		done, err = weight.AWQClip(q.ctx, w, a, scales, s, q.o.Pool)
	case q.o.Method == GPTQ:
		var r *weight.GPTQResult
		// MatMulNBits has groups of neighbours: act-order needs static ones
		r, err = weight.GPTQ(q.ctx, w, a, s, weight.GPTQOptions{RTNOptions: clip, Damp: q.o.Damp, ActOrder: q.o.ActOrder, StaticGroups: q.o.ActOrder}, q.o.Pool)
		if err == nil {
			done, note = r.Quantized, noteOf(r, q.o.Damp)
		}
	default:
		if a != nil {
			clip.Importance = a.MeanSquare()
		}
		done, err = weight.RTN(w, s, clip, q.o.Pool)
	}
	return done, note, err
}

func noteOf(r *weight.GPTQResult, asked float64) (note string) {
	if asked == 0 {
		asked = 0.01
	}
	if r.Damp > asked {
		note = fmt.Sprintf("the Hessian was damped by %g to be positive definite", r.Damp)
	}
	if r.Dead > 0 {
		if note != "" {
			note += "; "
		}
		note += fmt.Sprintf("%d inputs were always zero in the samples, and have weights of zero", r.Dead)
	}
	return note
}

// sqnr is that of the outputs on the rows seen, or of the weights without samples,
// in dB.
func (q *quantizer) sqnr(w weight.Matrix, done *weight.Quantized, scales []float32, a *weight.Activations) (db float64, err error) {
	signal, noise, err := q.noise(w, done, scales, a)
	if err != nil {
		return 0, err
	}
	const most = 999 // stands for no noise at all
	if noise == 0 {
		return most, nil
	}
	return max(10*math.Log10(signal/noise), -most), nil
}

// noise gives the sums of squares of outputs, or of weights, and of what is off.
func (q *quantizer) noise(w weight.Matrix, done *weight.Quantized, scales []float32, a *weight.Activations) (signal, noise float64, err error) {
	v := weight.Matrix{Rows: w.Rows, Cols: w.Cols, Data: make([]float32, len(w.Data))}
	done.Dequantize(v.Data, q.o.Pool)
	if scales != nil {
		for i := range v.Data {
			v.Data[i] /= scales[i%w.Cols]
		}
	}
	if a != nil {
		return a.OutputError(w, v, q.o.Pool)
	}
	for i, x := range w.Data {
		d := float64(x) - float64(v.Data[i])
		signal, noise = signal+float64(x)*float64(x), noise+d*d
	}
	return signal, noise, nil
}
