package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/spf13/cobra"
)

type explainFlags struct {
	engineFlags
	inputs, shapes []string
	runs           int
	json           bool
}

func newExplain(e *env) *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain MODEL",
		Short: "Show what the optimizer did and where time and memory go",
		Long: `Shows what each pass did and what it almost did, the memory plan against its lower bound,
whether the server can batch requests, and each step with its kernel, time, GFLOP/s and
GB/s, measured on random inputs unless --input gives others.`,
		Example: "  salver explain model.onnx\n  salver explain model.onnx --shape x=8x3x224x224 --json",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, e, args[0]) },
	}
	f.add(c)
	c.Flags().StringArrayVar(&f.inputs, "input", nil, "NAME=FILE (.npy, .npz or .pb)")
	c.Flags().StringArrayVar(&f.shapes, "shape", nil, "NAME=1x3x224x224 for random inputs")
	c.Flags().IntVar(&f.runs, "runs", 10, "runs to measure")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// explanation is what explain --json prints.
type explanation struct {
	Model     string            `json:"model"`
	ISA       string            `json:"isa"`
	Threads   int               `json:"threads"`
	Precision string            `json:"precision"`
	Batching  string            `json:"batching"` // "yes", or what forbids it
	Passes    *pass.Report      `json:"optimizer"`
	Memory    memoryExplanation `json:"memory"`
	TotalMS   float64           `json:"total_ms"`
	Steps     []stepExplanation `json:"steps"`
}

type memoryExplanation struct {
	Weights    int `json:"weight_bytes"`
	Packed     int `json:"packed_bytes"`
	Arena      int `json:"arena_bytes"`
	ArenaBound int `json:"arena_bound_bytes"`
	Inputs     int `json:"input_bytes"`
	Outputs    int `json:"output_bytes"`
}

type stepExplanation struct {
	Name   string   `json:"name"`
	Op     string   `json:"op"`
	Kernel string   `json:"kernel"` // "fast", "reference", or "dynamic" where shapes are known only at run time
	In     []string `json:"in"`
	Out    []string `json:"out"`
	MS     float64  `json:"ms"`
	GFlops float64  `json:"gflop_s,omitempty"`
	GBytes float64  `json:"gbyte_s"`
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
	in, err := r.read(f.inputs)
	if err != nil {
		return err
	}
	if in, err = randomInputs(eng.Graph(), in, shapes, 0); err != nil {
		return err
	}
	p, times, err := eng.Profile(cmd.Context(), in, f.runs)
	if err != nil {
		return err
	}
	x := f.explain(model, eng, p, times)
	if f.json {
		enc := json.NewEncoder(e.out)
		enc.SetIndent("", " ")
		return enc.Encode(x)
	}
	return x.print(e.out)
}

func (f *explainFlags) explain(model string, eng *engine.Engine, p *exec.Plan, times []time.Duration) *explanation {
	m := p.Memory()
	x := &explanation{Model: model, ISA: cpu.ISA(), Threads: f.threadCount(), Precision: f.precision, Batching: "yes", Passes: eng.Report,
		Memory: memoryExplanation{m.Weights, m.Packed, m.Arena, m.ArenaBound, m.Inputs, m.Outputs}}
	if eng.Rows != nil {
		x.Batching = "no: " + eng.Rows.Error()
	}
	for i, s := range p.Steps() {
		d := times[i]
		step := stepExplanation{Name: s.Node.Name, Op: s.Node.FullName(), Kernel: "reference", MS: float64(d.Nanoseconds()) / 1e6}
		switch {
		case s.Fast:
			step.Kernel = "fast"
		case s.Dynamic:
			step.Kernel = "dynamic"
		}
		for _, t := range s.In {
			step.In = append(step.In, t.String())
		}
		for _, t := range s.Out {
			step.Out = append(step.Out, t.String())
		}
		if d > 0 {
			step.GFlops = s.Flops / float64(d.Nanoseconds())
			step.GBytes = float64(s.Bytes) / float64(d.Nanoseconds())
		}
		x.TotalMS += step.MS
		x.Steps = append(x.Steps, step)
	}
	return x
}

func (x *explanation) print(w io.Writer) error {
	fmt.Fprintf(w, "%s  %s, %s, %d threads\n\n", x.Model, x.Precision, x.ISA, x.Threads)
	fmt.Fprintf(w, "Optimizer: %d nodes became %d in %v\n", x.Passes.NodesBefore, x.Passes.NodesAfter, x.Passes.Duration.Round(time.Millisecond))
	for _, p := range x.Passes.Passes {
		if len(p.Patches)+len(p.Near) > 0 {
			fmt.Fprintf(w, "  %-18s %4d times\n", p.Name, len(p.Patches))
		}
		for _, n := range p.Near {
			fmt.Fprintf(w, "    almost: %s: %s\n", n.Node, n.Reason)
		}
	}
	fmt.Fprintf(w, "\nBatching of requests: %s\n", x.Batching)
	m := x.Memory
	fmt.Fprintf(w, "\nMemory, bytes: weights %d, packed %d, arena %d (lower bound %d), inputs %d, outputs %d\n\n", m.Weights, m.Packed, m.Arena, m.ArenaBound, m.Inputs, m.Outputs)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ms\t%\tGFLOP/s\tGB/s\tkernel\t operator\t output\t name\t")
	for _, s := range x.Steps {
		out := ""
		if len(s.Out) > 0 {
			out = s.Out[0]
		}
		fmt.Fprintf(t, "%.3f\t%.1f\t%.1f\t%.1f\t%s\t %s\t %s\t %s\t\n", s.MS, 100*s.MS/max(x.TotalMS, 1e-9), s.GFlops, s.GBytes, s.Kernel, s.Op, out, s.Name)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%.3f ms in all steps\n", x.TotalMS)
	return err
}
