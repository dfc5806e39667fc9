package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/explain"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/spf13/cobra"
)

type explainFlags struct {
	engineFlags
	inputs, shapes []string
	runs           int
	json           bool
	html, compare  string
	bisect         bool
	threshold      float64
}

func newExplain(e *env) *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain MODEL",
		Short: "Show what the optimizer did and where time and memory go",
		Long: `Shows what each pass did and what it almost did, the memory plan against its lower bound,
whether the server can batch requests, and each step with its kernel, time, GFLOP/s and
GB/s next to the least time that this machine would need, measured on random inputs unless
--input gives others. --html writes all of it as one page with drawings of the graph.

--compare REFERENCE runs two models, or one model optimized and not, value by value, and
names the first values whose signal-to-noise ratio (SQNR) falls below --threshold.

--bisect finds the patch of the optimizer with which an output falls below --threshold,
compared with the model as it is in the file, and names its pass.`,
		Example: "  salver explain model.onnx\n  salver explain model.onnx --shape x=8x3x224x224 --json\n  salver explain model.onnx --html model.html\n  salver explain model-int8.onnx --compare model.onnx\n  salver explain model.onnx --bisect --threshold 60",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, e, args[0]) },
	}
	f.add(c)
	c.Flags().StringArrayVar(&f.inputs, "input", nil, "NAME=FILE (.npy, .npz or .pb)")
	c.Flags().StringArrayVar(&f.shapes, "shape", nil, "NAME=1x3x224x224 for random inputs")
	c.Flags().IntVar(&f.runs, "runs", 10, "runs to measure")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	c.Flags().StringVar(&f.html, "html", "", "write a page that needs nothing else")
	c.Flags().StringVar(&f.compare, "compare", "", "reference model to compare all values with")
	c.Flags().BoolVar(&f.bisect, "bisect", false, "find the patch that changes an output")
	c.Flags().Float64Var(&f.threshold, "threshold", 30, "SQNR in dB below which --compare and --bisect report a value")
	return c
}

func (f *explainFlags) run(cmd *cobra.Command, e *env, model string) error {
	if f.runs < 1 {
		return misusef("--runs %d: expected at least 1", f.runs)
	}
	o, closePool, err := f.options()
	if err != nil {
		return err
	}
	defer closePool()
	shapes, err := parseShapes(f.shapes)
	if err != nil {
		return err
	}
	eng, err := engine.Load(model, o)
	if err != nil {
		return err
	}
	defer eng.Close()
	r := inputReader{model: model, graph: eng.Graph()}
	given, err := r.read(f.inputs)
	if err != nil {
		return err
	}
	in, err := randomInputs(eng.Graph(), given, shapes, 0)
	if err != nil {
		return err
	}
	if f.compare != "" {
		c, err := explain.Compare(cmd.Context(), model, f.compare, explain.One(in), o)
		if err != nil {
			return err
		}
		return c.Report(e.out, f.json, f.threshold)
	}
	if f.bisect {
		c, err := explain.Bisect(cmd.Context(), model, in, o, f.threshold)
		if err != nil {
			return err
		}
		return c.Report(e.out, f.json, f.threshold)
	}
	x, err := explain.Measure(cmd.Context(), model, eng, in, f.threadCount(), f.runs)
	if err != nil {
		return needShapes(err, eng, given, shapes)
	}
	if f.html != "" {
		if err := f.writePage(x, model); err != nil {
			return err
		}
	}
	if f.json {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", " ")
		return enc.Encode(x)
	}
	return x.Print(e.out)
}

func (f *explainFlags) writePage(x *explain.Explanation, model string) error {
	off, err := switchedOff(f.passes)
	if err != nil {
		return err
	}
	drawings, err := explain.Snapshots(model, pass.Options{Level: f.level, Off: off})
	if err != nil {
		return err
	}
	file, err := os.Create(f.html)
	if err != nil {
		return err
	}
	if err := x.HTML(file, drawings); err != nil {
		file.Close()
		return fmt.Errorf("%s: %w", f.html, err)
	}
	return file.Close()
}
