package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/explain"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/spf13/cobra"
)

type compareFlags struct {
	engineFlags
	languageFlags
	data, labels  string
	recipe        recipeFlags
	limit, layers int
	runs, window  int
	all, json     bool
}

func newCompare(e *env) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:   "compare A B --data FILE",
		Short: "Measure how a changed model differs from the original",
		Long: `Runs the model A and a changed form B of it, say a quantized one, on the same data.

Of models of tensors it measures each layer's and each output's signal-to-quantization-noise
ratio (SQNR) and cosine, how often both find the same class, how often the right one where
the data have labels, latency of both in turns, and size. Layers are found by the names of
values, which quantizers keep; both models run without optimization for them, and as serve
runs them for the rest. --data is what 'salver quantize' takes.

Of two language models with one vocabulary it measures, over the text --data, the
Kullback-Leibler divergence (KLD) of B's predictions from A's, how often both predict the
same token, the perplexity of both, tokens a second, and size.`,
		Example: "  salver compare model.onnx model-int8.onnx --data calibration.npz\n  salver compare model-f16.gguf model-q4.gguf --data wiki.txt --limit 2048 --json",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.data == "" {
				return misusef("--data FILE is missing: what to run the models on")
			}
			for _, path := range args {
				if _, err := os.Stat(path); err != nil {
					return err
				}
			}
			a, b := llm.Recognise(args[0]), llm.Recognise(args[1])
			if a != b {
				return misusef("%s and %s are of different kinds: expected two ONNX models or two language models", args[0], args[1])
			}
			if err := f.checkIdle(cmd, a); err != nil {
				return err
			}
			if a {
				return f.languages(cmd.Context(), e, args[0], args[1])
			}
			return f.tensors(cmd.Context(), e, args[0], args[1])
		},
	}
	f.engineFlags.add(c)
	f.languageFlags.add(c)
	fl := c.Flags()
	fl.StringVar(&f.data, "data", "", "samples (.npz, JSON lines, a folder of pictures) or, for language models, a text")
	fl.StringVar(&f.labels, "labels", "", "file with the class of each sample")
	fl.IntVar(&f.limit, "limit", 0, "samples, or tokens of the text, at most; 0 is all of them")
	fl.IntVar(&f.layers, "layers", 8, "samples on which layers are compared; 0 leaves layers out")
	fl.IntVar(&f.runs, "runs", 20, "runs of each model to time; 0 leaves latency out")
	fl.IntVar(&f.window, "window", 0, "language models: tokens that are seen together; 0 is the context, 512 at most")
	fl.BoolVar(&f.all, "all", false, "show all layers in their order, not the ten worst")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	f.recipe.add(c)
	return c
}

// checkIdle refuses flags that the kind of the models leaves without effect.
func (f *compareFlags) checkIdle(cmd *cobra.Command, language bool) error {
	idle, of := []string{"window", "context", "kv-cache", "kv-type", "max-sequences", "step-tokens", "no-prefix-cache"}, "models of tensors"
	if language {
		idle, of = append([]string{"all", "layers", "runs", "labels"}, dataFlags[4:]...), "language models"
	}
	for _, name := range idle {
		if cmd.Flags().Changed(name) {
			return misusef("--%s: without effect on %s", name, of)
		}
	}
	return nil
}

// compared is one of the two models.
type compared struct {
	Path     string   `json:"path"`
	Bytes    int64    `json:"bytes"` // of its files
	BestMS   float64  `json:"best_ms,omitempty"`
	MedianMS float64  `json:"median_ms,omitempty"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	// Of language models.
	Perplexity float64 `json:"perplexity,omitempty"`
	TokensS    float64 `json:"tok_s,omitempty"` // of a prompt
}

// comparison is what compare --json prints of models of tensors.
type comparison struct {
	A       compared             `json:"a"`
	B       compared             `json:"b"`
	Samples int                  `json:"samples"`
	Outputs []outputDifference   `json:"outputs"`
	Layers  []explain.Difference `json:"layers,omitempty"`
	Note    string               `json:"note,omitempty"` // why there are no layers
}

// outputDifference is about one output of B. Top1 and KLD are those of outputs
// [rows, classes].
type outputDifference struct {
	Output string   `json:"output"`
	SQNR   float64  `json:"sqnr_db"`
	Cosine float64  `json:"cosine"`
	Max    float64  `json:"max_abs_diff"`
	Top1   *float64 `json:"top1_agreement,omitempty"`
	KLD    *float64 `json:"kld,omitempty"`
}

func (f *compareFlags) tensors(ctx context.Context, e *env, pathA, pathB string) error {
	if f.limit < 0 || f.layers < 0 || f.runs < 0 {
		return misusef("--limit, --layers and --runs: expected 0 or more")
	}
	o, closePool, err := f.engineFlags.options()
	if err != nil {
		return err
	}
	defer closePool()
	a, err := engine.Load(pathA, o)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := engine.Load(pathB, o)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := sameInputs(pathA, pathB, a.Inputs(), b.Inputs()); err != nil {
		return err
	}
	recipe, err := f.recipe.parse()
	if err != nil {
		return err
	}
	set, err := samples.Open(f.data, a.Graph(), samples.Options{Model: pathA, Recipe: recipe, Labels: f.labels, Limit: f.limit})
	if err != nil {
		return err
	}
	c := &comparison{A: compared{Path: pathA}, B: compared{Path: pathB}, Samples: set.Len()}
	if err := f.outputs(ctx, e, c, a, b, set); err != nil {
		return err
	}
	if err := f.latency(ctx, c, a, b, set); err != nil {
		return err
	}
	for _, m := range []*compared{&c.A, &c.B} {
		if m.Bytes, err = modelBytes(m.Path); err != nil {
			return err
		}
	}
	if f.layers > 0 {
		o.Level, o.Off = 0, nil
		layers, err := explain.Compare(ctx, pathB, pathA, firstSamples{set, f.layers}, o)
		if explain.NothingCommon(err) {
			c.Note = err.Error()
		} else if err != nil {
			return err
		} else {
			c.Layers = layers.Values
		}
	}
	if f.json {
		return json.NewEncoder(e.out).Encode(c)
	}
	return f.print(e, c)
}

// sameInputs refuses models that do not take the same tensors.
func sameInputs(pathA, pathB string, a, b []*ir.Value) error {
	if len(a) != len(b) {
		return fmt.Errorf("%s has %d inputs, %s has %d: expected two forms of one model", pathA, len(a), pathB, len(b))
	}
	for i := range a {
		if a[i].Name != b[i].Name || a[i].Type.DType != b[i].Type.DType {
			return fmt.Errorf("input %d of %s is %q %s, of %s %q %s: expected two forms of one model", i, pathA, a[i].Name, a[i].Type, pathB, b[i].Name, b[i].Type)
		}
	}
	return nil
}

// firstSamples are so many of a set.
type firstSamples struct {
	samples.Set
	most int
}

// Len is the number of samples.
func (s firstSamples) Len() int { return min(s.most, s.Set.Len()) }

// outputs runs both models on all samples.
func (f *compareFlags) outputs(ctx context.Context, e *env, c *comparison, a, b *engine.Engine, set samples.Set) error {
	progress := newProgress(e, set.Len(), "samples")
	defer progress.done()
	sum := guard.NewOutputs(a.Graph().Outputs)
	for i := range set.Len() {
		in, err := set.At(ctx, i)
		if err != nil {
			return err
		}
		want, err := a.Run(ctx, in)
		if err != nil {
			return fmt.Errorf("%s: %w", c.A.Path, err)
		}
		got, err := b.Run(ctx, in)
		if err != nil {
			return fmt.Errorf("%s: %w", c.B.Path, err)
		}
		class, labelled := set.Label(i)
		if err := sum.Add(got, want, class, labelled); err != nil {
			return err
		}
		progress.at(i + 1)
	}
	if rightB, rightA, ok := sum.Accuracy(); ok {
		c.A.Accuracy, c.B.Accuracy = &rightA, &rightB
	}
	for _, out := range sum.Each() {
		d := outputDifference{Output: out.Name, SQNR: out.SQNR(), Cosine: out.Cosine(), Max: out.MaxAbs()}
		if out.Classes.Len() > 0 {
			share, kld := out.Classes.Agreement(), out.Classes.Mean()
			d.Top1, d.KLD = &share, &kld
		}
		c.Outputs = append(c.Outputs, d)
	}
	return nil
}

// latency times both models in turns on the first sample.
func (f *compareFlags) latency(ctx context.Context, c *comparison, a, b *engine.Engine, set samples.Set) error {
	if f.runs == 0 {
		return nil
	}
	in, err := set.At(ctx, 0)
	if err != nil {
		return err
	}
	times := map[*compared][]time.Duration{}
	for range f.runs {
		for _, m := range []struct {
			*compared
			*engine.Engine
		}{{&c.A, a}, {&c.B, b}} {
			start := time.Now()
			if _, err := m.Run(ctx, in); err != nil {
				return err
			}
			times[m.compared] = append(times[m.compared], time.Since(start))
		}
	}
	for m, t := range times {
		slices.Sort(t)
		m.BestMS, m.MedianMS = quantile(t, 0), quantile(t, .5)
	}
	return nil
}

// modelBytes is the size of a model's files: of a folder all safetensors, of an ONNX
// file the weights beside it too.
func modelBytes(path string) (total int64, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if !st.IsDir() {
		if beside, err := os.Stat(path + ".data"); err == nil {
			total = beside.Size()
		}
		return total + st.Size(), nil
	}
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".safetensors" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

func (f *compareFlags) print(e *env, c *comparison) error {
	t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "\tMB\tmedian ms\tbest ms\taccuracy\tmodel\n")
	for i, m := range []compared{c.A, c.B} {
		median, best := "-", "-" // with --runs 0
		if m.BestMS > 0 {
			median, best = fmt.Sprintf("%.3f", m.MedianMS), fmt.Sprintf("%.3f", m.BestMS)
		}
		fmt.Fprintf(t, "%c\t%.2f\t%s\t%s\t%s\t%s\n", 'A'+i, float64(m.Bytes)/1e6, median, best, percent(m.Accuracy), m.Path)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(e.out, "B has %.3f of A's size", float64(c.B.Bytes)/float64(max(c.A.Bytes, 1)))
	if c.B.BestMS > 0 {
		fmt.Fprintf(e.out, " and is %.2f times as fast", c.A.BestMS/c.B.BestMS)
	}
	fmt.Fprintf(e.out, "\n\n%d samples\n", c.Samples)
	fmt.Fprintf(t, "output\tSQNR dB\tcosine\tmax difference\tsame class\tKLD\n")
	for _, d := range c.Outputs {
		kld := "-"
		if d.KLD != nil {
			kld = fmt.Sprintf("%.3g", *d.KLD)
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.6f\t%.4g\t%s\t%s\n", d.Output, d.SQNR, d.Cosine, d.Max, percent(d.Top1), kld)
	}
	if len(c.Layers) > 0 {
		f.printLayers(t, c.Layers)
	}
	if c.Note != "" {
		fmt.Fprintf(t, "\nno layers: %s\n", c.Note)
	}
	return t.Flush()
}

func (f *compareFlags) printLayers(t *tabwriter.Writer, layers []explain.Difference) {
	const few = 10
	order, which := slices.Clone(layers), "in order"
	if !f.all && len(order) > few {
		sort.SliceStable(order, func(i, j int) bool { return cmp.Less(order[i].SQNR, order[j].SQNR) })
		order, which = order[:few], fmt.Sprintf("the %d worst, --all shows all", few)
	}
	fmt.Fprintf(t, "\n%d values in common, %s\nSQNR dB\tcosine\tmax difference\toperator\tvalue\n", len(layers), which)
	for _, d := range order {
		fmt.Fprintf(t, "%.1f\t%.6f\t%.4g\t%s\t%s\n", d.SQNR, d.Cosine, d.Max, d.Op, d.Value)
	}
}

func percent(share *float64) string {
	if share == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100**share)
}
