// Package explain tells what the optimizer did to a model and where time and
// memory go: as data, as text, and as one self-contained page.
package explain

import (
	"context"
	"fmt"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// Explanation is everything that is known of a model on this machine.
type Explanation struct {
	Model     string       `json:"model"`
	ISA       string       `json:"isa"`
	Threads   int          `json:"threads"`
	Precision string       `json:"precision"`
	Inputs    []string     `json:"inputs"`
	Batching  string       `json:"batching"` // "yes", or what forbids it
	Labelled  []Labelled   `json:"labelled,omitempty"`
	Passes    *pass.Report `json:"optimizer"`
	Reorders  int          `json:"reorders"` // steps that only change a layout
	Copies    Copies       `json:"copies"`
	Memory    Memory       `json:"memory"`
	Roofline  Roofline     `json:"roofline"`
	TotalMS   float64      `json:"total_ms"`
	Steps     []Step       `json:"steps"`
}

// Labelled is an output that by the file is a map from class to score for each
// row, and here one tensor with a column for each class.
type Labelled struct {
	Output  string   `json:"output"`
	Classes []string `json:"classes"`
}

// Memory is what a run needs, in bytes.
type Memory struct {
	Weights    int    `json:"weight_bytes"`
	Packed     int    `json:"packed_bytes"`
	Arena      int    `json:"arena_bytes"`
	ArenaBound int    `json:"arena_bound_bytes"`
	Inputs     int    `json:"input_bytes"`
	Outputs    int    `json:"output_bytes"`
	Buffers    []Life `json:"buffers"`
}

// Copies counts the steps that copy a tensor to another provider's memory.
type Copies struct {
	Count int `json:"count"`
	Bytes int `json:"bytes"`
}

// Life is one buffer of the arena: its place, and the steps that use it.
type Life struct {
	Offset int `json:"offset"`
	Size   int `json:"size"`
	First  int `json:"first_step"`
	Last   int `json:"last_step"`
}

// Step is one operator of the plan.
type Step struct {
	Name        string   `json:"name"`
	Op          string   `json:"op"`
	Provider    string   `json:"provider"`
	Kernel      string   `json:"kernel"`              // "fast", "reference", "dynamic" where shapes are known only at run time, "copy" to another provider, or "none" where the inputs lie in their places in the output
	Precision   string   `json:"precision,omitempty"` // where a fast kernel's products are not of float32
	Layout      string   `json:"layout,omitempty"`
	In          []string `json:"in"`
	Out         []string `json:"out"`
	MS          float64  `json:"ms"`
	PredictedMS float64  `json:"predicted_ms,omitempty"` // by the roofline
	GFlops      float64  `json:"gflop_s,omitempty"`
	GBytes      float64  `json:"gbyte_s"`
}

// Measure runs the model and explains it.
func Measure(ctx context.Context, model string, e *engine.Engine, in []*tensor.Tensor, threads, runs int) (*Explanation, error) {
	p, times, err := e.Profile(ctx, in, runs)
	if err != nil {
		return nil, err
	}
	x := &Explanation{Model: model, ISA: cpu.ISA(), Threads: threads, Precision: e.Precision().String(), Batching: "yes", Passes: e.Report,
		Memory: memoryOf(p), Roofline: MeasureRoofline(e.Pool())}
	for i, v := range e.Graph().Inputs {
		x.Inputs = append(x.Inputs, fmt.Sprintf("%s %s", v.Name, in[i]))
	}
	for _, o := range e.Graph().Outputs {
		if classes := op.ClassLabels(o.Value); classes != nil {
			x.Labelled = append(x.Labelled, Labelled{o.Name, classes})
		}
	}
	if e.Rows != nil {
		x.Batching = "no: " + e.Rows.Error()
	}
	x.Copies.Count, x.Copies.Bytes = p.Copies()
	for i, s := range p.Steps() {
		step := describe(s, times[i], x.Roofline)
		x.TotalMS += step.MS
		if isReorder(s.Node) {
			x.Reorders++
		}
		x.Steps = append(x.Steps, step)
	}
	return x, nil
}

func memoryOf(p *exec.Plan) Memory {
	m := p.Memory()
	out := Memory{Weights: m.Weights, Packed: m.Packed, Arena: m.Arena, ArenaBound: m.ArenaBound, Inputs: m.Inputs, Outputs: m.Outputs}
	bufs, layout := p.Lives()
	for i, b := range bufs {
		out.Buffers = append(out.Buffers, Life{layout.Offsets[i], b.Size, b.First, b.Last})
	}
	return out
}

func describe(s exec.Step, d time.Duration, roof Roofline) Step {
	out := Step{Name: s.Node.Name, Op: s.Node.FullName(), Provider: s.Provider, Kernel: "reference", Layout: layoutOf(s.Node), MS: float64(d.Nanoseconds()) / 1e6}
	switch {
	case s.Copy:
		out.Kernel = "copy"
	case s.Joined:
		out.Kernel = "none"
	case s.Fast:
		out.Kernel = "fast"
	case s.Dynamic:
		out.Kernel = "dynamic"
	}
	if s.Precision != op.FP32 {
		out.Precision = s.Precision.String()
	}
	for _, t := range s.In {
		out.In = append(out.In, t.String())
	}
	for _, t := range s.Out {
		out.Out = append(out.Out, t.String())
	}
	if !s.Dynamic {
		out.PredictedMS = roof.Predict(s.Flops, float64(s.Bytes)).Seconds() * 1e3
	}
	if d > 0 {
		out.GFlops = s.Flops / float64(d.Nanoseconds())
		out.GBytes = float64(s.Bytes) / float64(d.Nanoseconds())
	}
	return out
}

// isReorder reports whether a node only changes the layout of a tensor.
func isReorder(n *ir.Node) bool {
	return n.Domain == op.Salver && (n.Op == "ToBlocked" || n.Op == "FromBlocked")
}

// layoutOf names the layout that a node computes in, where it is not the plain one.
func layoutOf(n *ir.Node) string {
	if n.Domain == op.Salver && n.Has("block") {
		return fmt.Sprintf("NCHW%dc", n.Int("block"))
	}
	return ""
}
