package guard

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
)

// Apply makes a quantized graph in which the nodes of keep have other precisions.
type Apply func(keep map[string]ptq.Precision) (*ir.Graph, *report.Report, error)

// Options of Hold.
type Options struct {
	Bound Bound
	// Raise is what layers that cost too much are computed in: Float32 or Int16.
	Raise ptq.Precision
	// Keep are layers that have another precision in any case.
	Keep map[string]ptq.Precision
	// Progress, if it is not nil, is told how many layers have been measured.
	Progress func(done, all int)
}

const (
	// rankSamples are those on which layers are measured one by one.
	rankSamples = 4
	// mostReturns bounds how often a layer that was left out is tried again.
	mostReturns = 8
)

// Hold quantizes as many layers as a bound on accuracy allows.
//
// If the bound does not hold with all of them, each layer is measured on a few
// samples as if it were the only quantized one. The order of what they add to the
// outputs' noise is the order in which they are raised, and how many is found by
// halving: the least number with which the bound holds on all samples. Of those, a few
// are then tried with integers again, the largest first, since errors of layers may
// also cancel. Every accepted graph has been measured whole.
func Hold(ctx context.Context, r *Runner, apply Apply, o Options) (*ir.Graph, *report.Report, error) {
	h := &holder{ctx: ctx, r: r, apply: apply, o: o}
	if err := h.try(nil); err != nil {
		return nil, nil, err
	}
	if err := o.Bound.measurable(h.now.outputs); err != nil {
		return nil, nil, err
	}
	all := h.now
	if !o.Bound.Empty() && !h.now.holds {
		if err := h.search(); err != nil {
			return nil, nil, err
		}
	}
	h.explain(all)
	return h.now.graph, h.now.report, nil
}

// holder looks for what has to be raised.
type holder struct {
	ctx    context.Context
	r      *Runner
	apply  Apply
	o      Options
	now    attempt
	ranked []ranking
	tries  int
}

// attempt is a quantized graph and what it was found to be.
type attempt struct {
	graph   *ir.Graph
	report  *report.Report
	outputs *Outputs
	raised  []ranking
	holds   bool
}

// ranking is what one layer alone does to the outputs.
type ranking struct {
	layer   report.Layer
	noise   float64
	outputs *Outputs
	weights int64 // how many
}

// keep is what is kept at other precisions with so many layers raised.
func (h *holder) keep(raised []ranking) map[string]ptq.Precision {
	keep := maps.Clone(h.o.Keep)
	if keep == nil {
		keep = map[string]ptq.Precision{}
	}
	for _, r := range raised {
		keep[r.layer.Name] = h.o.Raise
	}
	return keep
}

// try measures the graph with so many layers raised.
func (h *holder) try(raised []ranking) error {
	h.tries++
	g, rep, err := h.apply(h.keep(raised))
	if err != nil {
		return err
	}
	out, err := h.r.Measure(h.ctx, g, h.r.set.Len())
	if err != nil {
		return err
	}
	h.now = attempt{g, rep, out, slices.Clone(raised), h.o.Bound.holds(out)}
	return nil
}

// search finds the fewest layers to raise.
func (h *holder) search() error {
	if err := h.rank(h.now.report); err != nil {
		return err
	}
	lo, hi := 0, len(h.ranked) // raising lo is too little; hi is enough, or all
	var best attempt
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if err := h.try(h.ranked[:mid]); err != nil {
			return err
		}
		if h.now.holds {
			hi, best = mid, h.now
		} else {
			lo = mid
		}
	}
	if best.graph == nil {
		return h.hopeless()
	}
	return h.giveBack(best)
}

// hopeless tries all layers at 16 bits, or says that nothing can be quantized.
func (h *holder) hopeless() error {
	if h.o.Raise == ptq.Int16 {
		if err := h.try(h.ranked); err != nil {
			return err
		}
		if h.now.holds {
			return nil
		}
	}
	worst := h.ranked[0]
	return fmt.Errorf("no layer can be quantized with %s: with all but one raised the outputs have %.1f dB; %s %q alone takes them to %.1f dB",
		h.o.Bound, h.now.outputs.SQNR(), worst.layer.Op, worst.layer.Name, worst.outputs.SQNR())
}

// rank measures each layer alone.
func (h *holder) rank(rep *report.Report) error {
	var layers []report.Layer
	for _, l := range rep.Layers {
		if l.Precision == ptq.Int8.String() {
			layers = append(layers, l)
		}
	}
	for i, l := range layers {
		keep := maps.Clone(h.o.Keep)
		if keep == nil {
			keep = map[string]ptq.Precision{}
		}
		for _, other := range layers {
			if other.Name != l.Name {
				keep[other.Name] = ptq.Float32
			}
		}
		g, _, err := h.apply(keep)
		if err != nil {
			return fmt.Errorf("%s %q alone: %w", l.Op, l.Name, err)
		}
		out, err := h.r.Measure(h.ctx, g, rankSamples)
		if err != nil {
			return err
		}
		h.ranked = append(h.ranked, ranking{l, h.o.Bound.noise(out), out, weightsOf(g, l.Name)})
		if h.o.Progress != nil {
			h.o.Progress(i+1, len(layers))
		}
	}
	sort.SliceStable(h.ranked, func(i, j int) bool { return cmp.Less(h.ranked[j].noise, h.ranked[i].noise) })
	return nil
}

// weightsOf counts the weights of a node.
func weightsOf(g *ir.Graph, name string) (n int64) {
	for _, node := range g.Nodes {
		if node.Name != name {
			continue
		}
		for _, v := range node.In {
			if v != nil && v.Producer.Is("DequantizeLinear") {
				v = v.Producer.In[0]
			}
			if v.IsConst() {
				n = max(n, int64(v.Const.Len()))
			}
		}
	}
	return n
}

// giveBack tries layers of those that were raised as integers again.
func (h *holder) giveBack(best attempt) error {
	order := slices.Clone(best.raised)
	sort.SliceStable(order, func(i, j int) bool { return order[i].weights > order[j].weights })
	for _, candidate := range order[:min(len(order), mostReturns)] {
		if len(best.raised) == 1 {
			break // none was too little
		}
		fewer := slices.DeleteFunc(slices.Clone(best.raised), func(r ranking) bool { return r.layer.Name == candidate.layer.Name })
		if err := h.try(fewer); err != nil {
			return err
		}
		if h.now.holds {
			best = h.now
		}
	}
	h.now = best
	return nil
}

// explain writes into the report what was raised and why, and what was measured.
func (h *holder) explain(all attempt) {
	rep := h.now.report
	sum := 0.
	for _, r := range h.ranked {
		sum += r.noise
	}
	raised := map[string]bool{}
	for _, r := range h.now.raised {
		raised[r.layer.Name] = true
	}
	place := map[string]int{}
	for i, r := range h.ranked {
		place[r.layer.Name] = i + 1
	}
	for i := range rep.Layers {
		l := &rep.Layers[i]
		at, ok := place[l.Name]
		if !ok {
			continue
		}
		r := h.ranked[at-1]
		alone := r.outputs.SQNR()
		l.Alone = &alone
		if sum > 0 {
			l.Share = r.noise / sum
		}
		if raised[l.Name] {
			l.Reason = "for " + h.o.Bound.String()
		}
	}
	Measures(rep, h.now.outputs)
	rep.Measures["sqnr_db_all"] = all.outputs.SQNR()
	rep.Measures["raised"] = float64(len(h.now.raised))
	rep.Measures["tries"] = float64(h.tries)
}

// Measures writes what was measured into a report.
func Measures(rep *report.Report, o *Outputs) {
	if rep.Measures == nil {
		rep.Measures = map[string]float64{}
	}
	rep.Measures["sqnr_db"] = o.SQNR()
	if kld, ok := o.KLD(); ok {
		rep.Measures["kld"] = kld
	}
	if share, ok := o.Agreement(); ok {
		rep.Measures["top1_agreement"] = share
	}
	if model, reference, ok := o.Accuracy(); ok {
		rep.Measures["top1_before"], rep.Measures["top1_after"] = reference, model
	}
}
