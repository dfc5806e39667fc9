package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/spf13/cobra"
)

// quantizeFlags are the flags of quantize: those of all methods here, the others
// with the methods that have them.
type quantizeFlags struct {
	output, method   string
	data, labels     string
	limit, maxTokens int
	recipe           recipeFlags
	ops, exclude     []string
	symmetric        bool
	threads          int
	json             bool
	report           string
	to, io           string
	static           staticFlags
	weight           weightFlags
	language         quantizeLanguageFlags
	guard            guardFlags
}

// quantizeMethods are the ways to quantize an ONNX graph. Each changes the model
// of a job.
var quantizeMethods = map[string]func(context.Context, *quantizeJob) (*report.Report, error){
	"static":      quantizeStatic,
	"dynamic":     quantizeDynamic,
	"weight-only": quantizeWeights,
	"gptq":        quantizeWeights,
	"awq":         quantizeWeights,
	"hqq":         quantizeWeights,
}

// quantizeJob is one ONNX model to quantize.
type quantizeJob struct {
	f     *quantizeFlags
	e     *env
	path  string
	model *onnx.Model
	pool  *pool.Pool
}

func newQuantize(e *env) *cobra.Command {
	var f quantizeFlags
	c := &cobra.Command{
		Use:   "quantize IN -o OUT",
		Short: "Make a model smaller and faster by fewer bits",
		Long: `Writes a copy of a model with weights, and with most methods activations, in fewer bits.
OUT appears when it is whole; IN stays as it is.

  static       8-bit integers with ranges of activations measured on --data: the fastest
  dynamic      8-bit integers with ranges measured in each run: no data needed
  weight-only  few-bit weights, floating-point arithmetic; gptq, awq and hqq choose them better
  --to fp16    16-bit floats; --to bf16 likewise

Graphs come out as standard ONNX that other runtimes load too. --data is an .npz with arrays
called like the inputs and samples along the first axis, a folder of those or of pictures, JSON
lines, or a text for models with a tokenizer beside them. A hundred samples are usually enough.`,
		Example: "  salver quantize model.onnx -o model.int8.onnx --data calibration.npz\n" +
			"  salver quantize model.onnx -o model.int8.onnx --data pictures/ --resize 256 --crop 224 --scale 1/255 --color rgb --report report.json\n" +
			"  salver quantize encoder.onnx -o encoder.int8.onnx --method dynamic\n" +
			"  salver quantize model.onnx -o model.fp16.onnx --to fp16",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, e, args[0]) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "file to write, or folder for some formats of language models")
	fl.StringVar(&f.method, "method", "static", "static, dynamic, weight-only, gptq, awq or hqq")
	fl.StringVar(&f.to, "to", "int8", "int8, int16 (16-bit activations), fp16 or bf16")
	fl.StringVar(&f.io, "io", "", "of --to fp16 or bf16, the same to have inputs and outputs of that type too")
	fl.StringVar(&f.data, "data", "", "samples to calibrate with: .npz, folder, .jsonl or .txt")
	fl.StringVar(&f.labels, "labels", "", "file with the class of each sample")
	fl.IntVar(&f.limit, "limit", 0, "samples to use, taken evenly from all; 0 is all of them")
	fl.IntVar(&f.maxTokens, "max-tokens", 0, "tokens of a text sample, at most; 0 is 256, of a language model 512 or its context")
	fl.BoolVar(&f.symmetric, "symmetric", false, "zero points in the middle")
	fl.StringSliceVar(&f.ops, "ops", nil, "operators to quantize, e.g. Conv,MatMul; by default all that gain by it")
	fl.StringArrayVar(&f.exclude, "exclude", nil, "nodes to leave alone, by name or pattern such as 'head/*' (may be repeated)")
	fl.IntVar(&f.threads, "threads", 0, "threads; 0 is one per usable CPU")
	fl.BoolVar(&f.json, "json", false, "print the report as JSON")
	fl.StringVar(&f.report, "report", "", "write the report with histograms to a .json or .html file")
	f.recipe.add(c)
	f.static.add(c)
	f.weight.add(c)
	f.language.add(c)
	f.guard.add(c)
	return c
}

func (f *quantizeFlags) run(cmd *cobra.Command, e *env, path string) error {
	switch {
	case f.output == "":
		return misusef("-o OUT is missing")
	case f.limit < 0 || f.maxTokens < 0:
		return misusef("--limit and --max-tokens: expected 0 or more")
	case quantizeMethods[f.method] == nil:
		return misusef("--method %q: expected static, dynamic, weight-only, gptq, awq or hqq", f.method)
	}
	if err := checkThreads(f.threads); err != nil {
		return err
	}
	if ext := filepath.Ext(f.report); f.report != "" && ext != ".json" && ext != ".html" {
		return misusef("--report %s: expected a name that ends in .json or .html", f.report)
	}
	language := llm.Recognise(path)
	if err := f.check(cmd, e, language); err != nil {
		return err
	}
	if err := f.checkOutputs(path); err != nil {
		return err
	}
	threads := f.threads
	if threads == 0 {
		threads = cpu.Threads()
	}
	reserveProcessors(threads)
	p := pool.New(threads)
	defer p.Close()
	if language {
		return f.quantizeLanguage(cmd, e, path, p)
	}
	return f.graph(cmd.Context(), e, path, p)
}

// graph quantizes an ONNX model.
func (f *quantizeFlags) graph(ctx context.Context, e *env, path string, p *pool.Pool) error {
	if _, err := os.Stat(filepath.Dir(f.output)); err != nil { // before work that takes long
		return fmt.Errorf("-o %s: %w", f.output, err)
	}
	m, err := onnx.Load(path)
	if err != nil {
		return err
	}
	defer m.Close()
	quantize := quantizeMethods[f.method]
	switch f.to {
	case "int8", "int16":
	case "fp16", "bf16":
		quantize = quantizeHalf
	default:
		return misusef("--to %q: expected int8, int16, fp16 or bf16", f.to)
	}
	before := m.Graph.Clone()
	rep, err := quantize(ctx, &quantizeJob{f: f, e: e, path: path, model: m, pool: p})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	rep.Model = path
	rep.Warnings = append(rep.Warnings, f.unmatched(rep, before, m.Graph)...)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	m.Typed = false // readers infer what the graph computes
	ptq.Lean(m.Graph)
	m.IRVersion = max(m.IRVersion, leastIR(m.Graph))
	if err := m.WriteFile(f.output); err != nil {
		return fmt.Errorf("%s: %w", f.output, err)
	}
	return f.tell(e, rep)
}

// leastIR is the least version of the file format that an opset belongs to.
func leastIR(g *ir.Graph) int {
	switch v := g.Opsets[""]; {
	case v >= 23:
		return 11
	case v >= 21:
		return 10
	case v >= 19:
		return 9
	case v >= 15:
		return 8
	case v >= 13:
		return 7
	}
	return 4 // constants need not be inputs
}

// tell prints and writes the report.
func (f *quantizeFlags) tell(e *env, rep *report.Report) error {
	if f.report != "" {
		if err := writeReport(f.report, rep); err != nil {
			return err
		}
	}
	for _, w := range rep.Warnings {
		fmt.Fprintf(e.err, "salver: warning: %s\n", w)
	}
	if f.json {
		short := *rep
		short.Layers = slices.Clone(rep.Layers)
		for i := range short.Layers {
			short.Layers[i].Histogram = nil
		}
		return json.NewEncoder(e.out).Encode(&short)
	}
	counts := map[string]int{}
	for _, l := range rep.Layers {
		counts[l.Precision]++
	}
	var parts []string
	for _, p := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d in %s", counts[p], p))
	}
	fmt.Fprintf(e.out, "%s: %s; weights of %s became %s\n", f.output, strings.Join(parts, ", "), about(rep.BytesBefore), about(rep.BytesAfter))
	tellMeasures(e, rep)
	tellReasons(e, rep)
	return nil
}

// tellReasons lists why layers were left or raised, each reason once.
func tellReasons(e *env, rep *report.Report) {
	names := map[string][]string{}
	var order []string
	for _, l := range rep.Layers {
		if l.Reason == "" {
			continue
		}
		key := l.Precision + ": " + l.Reason
		if names[key] == nil {
			order = append(order, key)
		}
		names[key] = append(names[key], l.Op+" "+l.Name)
	}
	for _, key := range order {
		list := names[key]
		more := ""
		if len(list) > 5 {
			more = fmt.Sprintf(" and %d more", len(list)-5)
			list = list[:5]
		}
		fmt.Fprintf(e.out, "  %s (%s%s)\n", key, strings.Join(list, ", "), more)
	}
}

// samples opens --data for the job's graph.
func (j *quantizeJob) samples() (samples.Set, error) {
	recipe, err := j.f.recipe.parse()
	if err != nil {
		return nil, err
	}
	return samples.Open(j.f.data, j.model.Graph, samples.Options{Model: j.path, Recipe: recipe, Labels: j.f.labels, Limit: j.f.limit, MaxTokens: j.f.maxTokens})
}
