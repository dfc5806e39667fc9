package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/spf13/cobra"
)

// runFlags are the flags of run.
type runFlags struct {
	engineFlags
	languageFlags
	samplingFlags
	inputs, shapes []string
	output, labels string
	random, json   bool
	seed           uint64
	recipe         recipeFlags
}

func newRun(e *env) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run MODEL [PROMPT]",
		Short: "Run a model once on given inputs, or let a language model answer",
		Long: `Runs MODEL once. Inputs are .npy, .npz and .pb (TensorProto) files or pictures (JPEG,
PNG and others, turned upright by their EXIF data). A picture needs a recipe: flags, or a
file beside the model (MODEL.yaml, preprocess.yaml or Hugging Face's
preprocessor_config.json). The outputs are summarized, and written to DIR as OUTPUT.npy,
those of a sequence as OUTPUT.0.npy, OUTPUT.1.npy and so on.

A language model, a GGUF file or a Hugging Face folder, answers PROMPT, through its chat
template if it has one; without a PROMPT it reads one from standard input or, on a terminal,
talks: /help there lists what can be done.`,
		Example: `  salver run model.onnx --input x=x.npy --output out
  salver run squeezenet.onnx --input cat.jpg --resize 256 --crop 224 --scale 1/255 \
      --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --color rgb --labels labels.txt
  salver run model.gguf "Why is the sky blue?" --max-tokens 100`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if llm.Recognise(args[0]) {
				return f.runLanguage(cmd, e, args[0], args[1:])
			}
			if err := onlyLanguage(cmd, args[0]); err != nil {
				return err
			}
			if len(args) > 1 {
				return misusef("%s is no language model: it takes --input, not a prompt", args[0])
			}
			return f.run(cmd, e, args[0])
		},
	}
	f.engineFlags.add(c)
	f.languageFlags.add(c)
	f.languageFlags.addTemplate(c)
	f.samplingFlags.add(c)
	fl := c.Flags()
	fl.StringArrayVar(&f.inputs, "input", nil, "NAME=FILE (.npy, .npz, .pb or a picture); NAME= may be left out for a single input")
	fl.StringArrayVar(&f.shapes, "shape", nil, "NAME=1x3x224x224, for --random")
	fl.BoolVar(&f.random, "random", false, "fill missing inputs with random numbers")
	fl.Uint64Var(&f.seed, "seed", 0, "seed of --random, and of language models that draw")
	fl.StringVar(&f.output, "output", "", "folder for the outputs, one OUTPUT.npy each")
	fl.StringVar(&f.labels, "labels", "", "file with one label a line: print the five best")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	f.recipe.add(c)
	return c
}

func (f *runFlags) run(cmd *cobra.Command, e *env, model string) error {
	o, closePool, err := f.engineFlags.options()
	if err != nil {
		return err
	}
	defer closePool()
	recipe, err := f.recipe.parse()
	if err != nil {
		return err
	}
	shapes, err := parseShapes(f.shapes)
	if err != nil {
		return err
	}
	eng, err := engine.Load(model, o)
	if err != nil {
		return err
	}
	defer eng.Close()
	if eng.Choice != nil {
		fmt.Fprintln(e.err, eng.Choice)
	}
	g := eng.Graph()
	r := inputReader{model: model, graph: g, recipe: recipe}
	in, err := r.read(f.inputs)
	if err != nil {
		return err
	}
	if f.random {
		if in, err = randomInputs(g, in, shapes, f.seed); err != nil {
			return err
		}
	}
	for i, t := range in {
		if t == nil {
			return misusef("input %q %s is missing: give --input %s=FILE, or --random", g.Inputs[i].Name, g.Inputs[i].Type, g.Inputs[i].Name)
		}
	}
	start := time.Now()
	out, err := eng.Run(cmd.Context(), in)
	if err != nil {
		return err
	}
	took := time.Since(start)
	if f.output != "" {
		if err := writeOutputs(f.output, eng, out); err != nil {
			return err
		}
	}
	return f.report(e, eng, out, took)
}

// writeOutputs writes each output as NAME.npy; slashes in a name become underscores.
// A sequence's tensors are NAME.0.npy, NAME.1.npy and so on.
func writeOutputs(dir string, eng *engine.Engine, out []*tensor.Tensor) error {
	var files []outputFile
	of := map[string]string{}
	for i, o := range eng.Graph().Outputs {
		own := filesOf(strings.NewReplacer("/", "_", `\`, "_").Replace(o.Name), out[i])
		for _, f := range own {
			if other, twice := of[f.name]; twice {
				return fmt.Errorf("outputs %q and %q would both be written to %s", other, o.Name, f.name)
			}
			of[f.name] = o.Name
		}
		files = append(files, own...)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := npy.WriteFile(filepath.Join(dir, f.name), f.t); err != nil {
			return fmt.Errorf("output %q: %w", of[f.name], err)
		}
	}
	return nil
}

type outputFile struct {
	name string
	t    *tensor.Tensor
}

// filesOf lists the tensors of a value.
func filesOf(name string, t *tensor.Tensor) []outputFile {
	if t.DType != dtype.Sequence && t.DType != dtype.Optional {
		return []outputFile{{name + ".npy", t}}
	}
	var files []outputFile
	for i, item := range t.Items {
		files = append(files, filesOf(fmt.Sprintf("%s.%d", name, i), item)...)
	}
	return files
}

// outputReport is one output in --json.
type outputReport struct {
	Name  string         `json:"name"`
	DType string         `json:"dtype"`
	Shape []int          `json:"shape"`
	Top   *image.Ranking `json:"top,omitempty"`
}

func (f *runFlags) report(e *env, eng *engine.Engine, out []*tensor.Tensor, took time.Duration) error {
	var labels []string
	if f.labels != "" {
		var err error
		if labels, err = image.ReadLabels(f.labels); err != nil {
			return err
		}
	}
	var reports []outputReport
	var misfit error // of the label file with an output that it is not for
	fits := false
	for i, o := range eng.Graph().Outputs {
		r := outputReport{Name: o.Name, DType: out[i].DType.String(), Shape: out[i].Shape}
		names := labels
		if own := op.ClassLabels(o.Value); names == nil && len(own) == out[i].Len() {
			names = own // several rows would need as many tables
		}
		if names != nil {
			top, err := image.Top(out[i], names, 5)
			if err == nil {
				r.Top, fits = &top, true
			} else {
				misfit = fmt.Errorf("output %q: %w", o.Name, err)
			}
		}
		reports = append(reports, r)
	}
	if misfit != nil && !fits {
		return misfit
	}
	if f.json {
		return json.NewEncoder(e.out).Encode(map[string]any{"outputs": reports, "latency_ms": float64(took.Microseconds()) / 1e3})
	}
	for i, r := range reports {
		fmt.Fprintf(e.out, "%s %s%s\n", r.Name, out[i], summary(out[i]))
		if r.Top != nil {
			if _, err := r.Top.WriteTo(e.out); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(e.out, "%.2f ms (the first run, which prepares kernels and memory)\n", float64(took.Microseconds())/1e3)
	return nil
}

// summary shows a few values of a tensor.
func summary(t *tensor.Tensor) string {
	const most = 6
	n := min(t.Len(), most)
	vals := make([]string, 0, n+1)
	for i := range n {
		vals = append(vals, t.Text(i))
	}
	if t.Len() > most {
		vals = append(vals, "…")
	}
	return " = " + strings.Join(vals, " ")
}
