package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/explain"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/recover"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/spf13/cobra"
)

// guardFlags say what accuracy static quantization has to keep, and how it is won back.
type guardFlags struct {
	maxDrop         string
	minSQNR, maxKLD float64
	raise, target   string

	equalize, bias bool
	smooth         string
	adaround       int
	original       *ir.Graph // before weights were changed
	exact          *ir.Graph // before weights were rounded
	steps          []string
}

func (f *guardFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.Float64Var(&f.minSQNR, "min-sqnr", 0, "static: leave out layers until each output has this signal-to-noise ratio in dB on --data")
	fl.Float64Var(&f.maxKLD, "max-kld", 0, "static: leave out layers until the divergence of the classes' probabilities is at most this, in nats")
	fl.StringVar(&f.maxDrop, "max-drop", "", "static: leave out layers until at most this much accuracy is lost on data with labels, e.g. 0.5%")
	fl.StringVar(&f.raise, "raise", "float32", "static: what layers that cost too much are computed in: float32, or int16 for 16-bit activations")
	fl.StringVar(&f.target, "for", "", "static: leave in float32 what is slower in int8 on CPUs of a kind: avx2, vnni or amx")
	fl.BoolVar(&f.equalize, "equalize", false, "static: equalize the ranges of channels between layers, which helps --per-tensor weights")
	fl.StringVar(&f.smooth, "smoothquant", "", "static: move outliers of activations into weights, as far as samples show it helps, or =ALPHA from 0 to 1")
	fl.IntVar(&f.adaround, "adaround", 0, "static: choose for each weight on samples whether it is rounded up or down; =N iterations")
	fl.BoolVar(&f.bias, "bias-correction", true, "static: correct biases for what rounding weights does to the mean of outputs")
	fl.Lookup("smoothquant").NoOptDefVal = smoothSearch
	fl.Lookup("adaround").NoOptDefVal = "100"
}

// bound checks the flags.
func (f *guardFlags) bound() (b guard.Bound, err error) {
	b = guard.Bound{MinSQNR: f.minSQNR, MaxKLD: f.maxKLD}
	if !(f.minSQNR >= 0 && f.minSQNR < 200) || !(f.maxKLD >= 0) || math.IsInf(f.maxKLD, 0) {
		return b, misusef("--min-sqnr %g --max-kld %g: expected decibels and nats from 0 on", f.minSQNR, f.maxKLD)
	}
	if f.maxDrop != "" {
		if b.MaxDrop, err = parseShare(f.maxDrop); err != nil {
			return b, misuse{fmt.Errorf("--max-drop %w", err)}
		}
	}
	return b, nil
}

// parseShare reads a percentage such as "0.5%".
func parseShare(s string) (float64, error) {
	number, ok := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !ok || !(v > 0 && v <= 100) {
		return 0, fmt.Errorf("%q: expected a percentage above 0, e.g. 0.5%%", s)
	}
	return v / 100, nil
}

// raised is the precision of layers that cost too much.
func (f *guardFlags) raised() (ptq.Precision, error) {
	for _, p := range []ptq.Precision{ptq.Float32, ptq.Int16} {
		if p.String() == f.raise {
			return p, nil
		}
	}
	return 0, misusef("--raise %q: expected float32 or int16", f.raise)
}

// prepare changes the weights of the job's prepared graph before ranges are measured.
func (f *guardFlags) prepare(ctx context.Context, j *quantizeJob, set samples.Set, o ptq.Options) error {
	alpha, err := f.check(o)
	if err != nil {
		return err
	}
	g := j.model.Graph
	f.original, f.steps = g.Clone(), nil
	if f.equalize {
		f.note("equalized %d pairs of layers", recover.Equalize(g))
	}
	if f.smooth != "" {
		n, err := recover.Smooth(ctx, g, set, alpha, j.pool)
		if err != nil {
			return err
		}
		f.note("smoothed %d activations", n)
	}
	f.exact = g.Clone()
	if f.adaround == 0 {
		return nil
	}
	bar := newProgress(j.e, 1, "layers")
	defer bar.done()
	gains, err := recover.AdaRound(ctx, g, set, f.adaround, j.pool, func(done, all int) {
		bar.all = all
		bar.at(done)
	})
	if err != nil {
		return err
	}
	list := slices.Sorted(maps.Values(gains))
	if len(list) > 0 {
		f.note("rounded the weights of %d layers by samples, errors of their outputs became smaller by a factor of %.2f in the median", len(list), list[len(list)/2])
	}
	return nil
}

func (f *guardFlags) note(format string, args ...any) {
	f.steps = append(f.steps, fmt.Sprintf(format, args...))
}

// smoothSearch lets samples decide how much is smoothed.
const smoothSearch = "auto"

// check refuses wrong flags, and gives the strength of smoothing.
func (f *guardFlags) check(o ptq.Options) (alpha float64, err error) {
	if _, err := f.bound(); err != nil {
		return 0, err
	}
	if _, err := f.raised(); err != nil {
		return 0, err
	}
	if _, err := guard.FindTarget(f.target); f.target != "" && err != nil {
		return 0, misuse{fmt.Errorf("--for %w", err)}
	}
	if f.adaround < 0 {
		return 0, misusef("--adaround=%d: expected a number of iterations", f.adaround)
	}
	if f.adaround > 0 && (o.PerTensor || o.AsymmetricWeights || o.ReduceRange || o.Weights != dtype.Int8) {
		return 0, misusef("--adaround is for int8 weights with one scale for each channel, without zero points: leave out --per-tensor, --asymmetric-weights, --reduce-range and --weights")
	}
	if f.smooth == "" || f.smooth == smoothSearch {
		return recover.Search, nil
	}
	alpha, err = strconv.ParseFloat(f.smooth, 64)
	if err != nil || !(alpha >= 0 && alpha <= 1) {
		return 0, misusef("--smoothquant=%s: expected a number from 0 to 1", f.smooth)
	}
	return alpha, nil
}

// correctBias changes the biases of the job's graph by what its weights become.
func (f *guardFlags) correctBias(ctx context.Context, j *quantizeJob, c *ptq.Calibration, set samples.Set, o ptq.Options) error {
	if !f.bias {
		return nil
	}
	o.Format = ptq.QDQ // in which weights are easy to read
	q, _, err := ptq.Apply(j.model.Graph, c, o)
	if err != nil {
		return err
	}
	bar := newProgress(j.e, set.Len(), "runs")
	defer bar.done()
	n, err := recover.Bias(ctx, j.model.Graph, f.exact, q, set, j.pool, func(done, all int) {
		bar.all = all
		bar.at(done)
	})
	if err != nil {
		return err
	}
	f.note("corrected the biases of %d layers", n)
	return nil
}

// measuredSamples are those on which a result is measured that has no bound to keep.
const measuredSamples = 8

// apply quantizes the job's prepared graph within the bounds on accuracy.
func (f *guardFlags) apply(ctx context.Context, j *quantizeJob, c *ptq.Calibration, set samples.Set, o ptq.Options) (*ir.Graph, *report.Report, error) {
	bound, err := f.bound()
	if err != nil {
		return nil, nil, err
	}
	raise, err := f.raised()
	if err != nil {
		return nil, nil, err
	}
	if err := f.correctBias(ctx, j, c, set, o); err != nil {
		return nil, nil, err
	}
	seen := set
	if bound.Empty() {
		seen = firstSamples{set, measuredSamples}
	}
	r, err := guard.NewRunner(f.original, seen, j.pool)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	apply := func(keep map[string]ptq.Precision) (*ir.Graph, *report.Report, error) {
		o := o
		o.Keep = keep
		return ptq.Apply(j.model.Graph, c, o)
	}
	slow, err := f.slow(ctx, r, apply)
	if err != nil {
		return nil, nil, err
	}
	bar := newProgress(j.e, 1, "layers")
	defer bar.done()
	q, rep, err := guard.Hold(ctx, r, apply, guard.Options{Bound: bound, Raise: raise, Keep: kept(slow), Progress: func(done, all int) {
		bar.all = all
		bar.at(done)
	}})
	if err != nil {
		return nil, nil, err
	}
	rep.Steps = f.steps
	for i := range rep.Layers {
		if why := slow[rep.Layers[i].Name]; why != "" {
			rep.Layers[i].Reason = why
		}
	}
	best, err := r.Time(ctx, f.original, q)
	if err != nil {
		return nil, nil, err
	}
	rep.Measures["seconds_before"], rep.Measures["seconds_after"] = best[0].Seconds(), best[1].Seconds()
	if j.f.report != "" {
		if err := layerErrors(ctx, j, f.original, q, rep, firstSamples{set, measuredSamples}); err != nil {
			return nil, nil, err
		}
	}
	return q, rep, nil
}

// kept leaves layers in float32.
func kept(layers map[string]string) map[string]ptq.Precision {
	keep := map[string]ptq.Precision{}
	for name := range layers {
		keep[name] = ptq.Float32
	}
	return keep
}

// slow gives the layers that are left in float32 for the target's sake, with why. Where
// this machine can run as the target does, that is done only if it makes the whole
// model faster, and a model that integers make slower is refused.
func (f *guardFlags) slow(ctx context.Context, r *guard.Runner, apply guard.Apply) (map[string]string, error) {
	if f.target == "" {
		return nil, nil
	}
	t, err := guard.FindTarget(f.target)
	if err != nil {
		return nil, err
	}
	slow := t.Slow(f.original)
	all, _, err := apply(nil)
	if err != nil {
		return nil, err
	}
	graphs := []*ir.Graph{f.original, all}
	if len(slow) > 0 {
		some, _, err := apply(kept(slow))
		if err != nil {
			return nil, fmt.Errorf("on %s: %w", t.Name, err)
		}
		graphs = append(graphs, some)
	}
	restore, ok := t.Force()
	if !ok {
		f.note("chose layers for %s by figures that were measured before: this machine is no such", t.Name)
		return slow, nil
	}
	defer restore()
	best, err := r.Time(ctx, graphs...)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("on %s a run takes %.3f ms in float32, %.3f with all layers in int8", t.Name, 1e3*best[0].Seconds(), 1e3*best[1].Seconds())
	if len(best) == 2 {
		slow = nil
	} else {
		text += fmt.Sprintf(", %.3f with %d of them left in float32", 1e3*best[2].Seconds(), len(slow))
		if best[1] <= best[2] {
			slow = nil
		}
	}
	if least := slices.Min(best[1:]); least > best[0] {
		return nil, fmt.Errorf("integers make the model slower: %s; --to fp16 makes it smaller at the same speed", text)
	}
	f.note("%s", text)
	return slow, nil
}

// layerErrors writes into a report how far each layer's output is from the original's.
func layerErrors(ctx context.Context, j *quantizeJob, original, q *ir.Graph, rep *report.Report, set explain.Samples) error {
	values, err := explain.CompareGraphs(ctx, q, original, set, exec.Options{Pool: j.pool})
	if err != nil && !explain.NothingCommon(err) {
		return err
	}
	ofNode := map[string]float64{}
	for _, v := range values {
		ofNode[v.Node] = v.SQNR
	}
	for i := range rep.Layers {
		if db, ok := ofNode[rep.Layers[i].Name]; ok {
			rep.Layers[i].Output = &db
		}
	}
	return nil
}

// tellMeasures says what was measured of the whole model.
func tellMeasures(e *env, rep *report.Report) {
	for _, s := range rep.Steps {
		fmt.Fprintf(e.out, "  %s\n", s)
	}
	m := rep.Measures
	for _, f := range []struct {
		key, text string
		factor    float64
	}{
		{"sqnr_db", "  the outputs have %.1f dB SQNR", 1}, {"sqnr_db_all", ", %.1f with all layers in fewer bits", 1}, {"kld", ", a divergence of %.3g nats", 1},
		{"top1_agreement", ", the same class in %.2f %%", 100}, {"top1_after", ", an accuracy of %.2f %%", 100}, {"top1_before", ", before it was %.2f %%", 100},
	} {
		if v, ok := m[f.key]; ok && (f.key != "sqnr_db_all" || m["raised"] > 0) {
			fmt.Fprintf(e.out, f.text, f.factor*v)
		}
	}
	if len(m) > 0 {
		fmt.Fprintln(e.out)
	}
	if before, after := m["seconds_before"], m["seconds_after"]; after > 0 {
		fmt.Fprintf(e.out, "  one run takes %.3f ms, before it was %.3f ms\n", 1e3*after, 1e3*before)
	}
}

// writeReport writes a report with histograms as the file's name says.
func writeReport(path string, rep *report.Report) error {
	if filepath.Ext(path) == ".html" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := rep.HTML(f); err != nil {
			f.Close()
			return fmt.Errorf("%s: %w", path, err)
		}
		return f.Close()
	}
	b, err := json.Marshal(rep)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
