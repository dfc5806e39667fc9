package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/spf13/cobra"
)

type benchFlags struct {
	engineFlags
	languageFlags
	languageBenchFlags
	inputs, shapes []string
	seconds        float64
	json, worker   bool
}

func newBench(e *env) *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench MODEL",
		Short: "Measure a model's latency and memory",
		Long: `Measures how long one inference takes, on random inputs unless --input gives others.
Symbolic dimensions are 1 unless --shape says more. Of a language model it measures tokens a
second: of prompts, of one answer, and of --concurrency answers at once.

With --worker it takes no MODEL but answers requests on standard input, one JSON object a
line, so that a script can measure several engines in one interleaved run:
  <- {"model": PATH, "threads": N, "inputs": NPZ, "check": NPZ}   arrays "in:NAME"
  -> {"load_s": S, "rss_before": BYTES, "rss_loaded": BYTES, "outputs": NPZ}
  <- {"run_s": S}        -> {"lat_s": [ … ]}
  <- {"quit": 1}         -> {"rss_peak": BYTES, "notes": "…"}`,
		Example: "  salver bench model.onnx --threads 2 --shape x=1x3x224x224\n  salver bench model.onnx --seconds 5 --json\n  salver bench model.gguf --prompt 512 --gen 128 --concurrency 1,16",
		Args: func(cmd *cobra.Command, args []string) error {
			if f.worker {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.worker {
				return runWorker(cmd.Context(), e, &f.engineFlags)
			}
			if llm.Recognise(args[0]) {
				return f.runLanguage(cmd.Context(), e, args[0])
			}
			if err := onlyLanguage(cmd, args[0]); err != nil {
				return err
			}
			return f.run(cmd.Context(), e, args[0])
		},
	}
	f.engineFlags.add(c)
	f.languageFlags.add(c)
	f.languageBenchFlags.add(c)
	fl := c.Flags()
	fl.StringArrayVar(&f.inputs, "input", nil, "NAME=FILE (.npy, .npz or .pb)")
	fl.StringArrayVar(&f.shapes, "shape", nil, "NAME=1x3x224x224 for random inputs")
	fl.Float64Var(&f.seconds, "seconds", 3, "how long to measure")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	fl.BoolVar(&f.worker, "worker", false, "answer measuring requests on standard input")
	return c
}

// benchResult is what bench --json prints.
type benchResult struct {
	Model           string  `json:"model"`
	MedianMS        float64 `json:"median_ms"`
	P90MS           float64 `json:"p90_ms"`
	P99MS           float64 `json:"p99_ms"`
	MinMS           float64 `json:"min_ms"`
	Runs            int     `json:"runs"`
	LoadS           float64 `json:"load_s"` // from the file to the first answer
	ArenaBytes      int     `json:"arena_bytes"`
	ArenaBoundBytes int     `json:"arena_bound_bytes"`
	WeightBytes     int     `json:"weight_bytes"`
	PackedBytes     int     `json:"packed_bytes"`
	PlannedBytes    int64   `json:"planned_peak_bytes"` // of the process: what it held when the model was loaded, and the plan
	PeakRSSBytes    int64   `json:"peak_rss_bytes"`
	Precision       string  `json:"precision"`
	// Choice is what --precision auto found.
	Choice  *engine.Choice `json:"precision_choice,omitempty"`
	ISA     string         `json:"isa"`
	Threads int            `json:"threads"`
}

// measured is a model with inputs and outputs to time.
type measured struct {
	engine  *engine.Engine
	in, out []*tensor.Tensor
}

// once runs the model, reusing the outputs' memory where their shapes are known.
func (m *measured) once(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	err := m.engine.RunInto(ctx, m.in, m.out)
	return time.Since(start), err
}

// repeat runs the model for about the given time, at least three times.
func (m *measured) repeat(ctx context.Context, d time.Duration) ([]time.Duration, error) {
	var lat []time.Duration
	for start := time.Now(); len(lat) < 3 || time.Since(start) < d; {
		t, err := m.once(ctx)
		if err != nil {
			return nil, err
		}
		lat = append(lat, t)
	}
	return lat, nil
}

func (f *benchFlags) run(ctx context.Context, e *env, model string) error {
	if !(f.seconds > 0) || math.IsInf(f.seconds, 0) {
		return misusef("--seconds %v: expected a positive number", f.seconds)
	}
	o, closePool, err := f.engineFlags.options()
	if err != nil {
		return err
	}
	defer closePool()
	onlyCompute(f.threadCount())
	shapes, err := parseShapes(f.shapes)
	if err != nil {
		return err
	}
	start := time.Now()
	eng, err := engine.Load(model, o)
	if err != nil {
		return err
	}
	defer eng.Close()
	loaded := memoryStatus("VmRSS")
	r := inputReader{model: model, graph: eng.Graph()}
	given, err := r.read(f.inputs)
	if err != nil {
		return err
	}
	m := &measured{engine: eng, out: make([]*tensor.Tensor, len(eng.Graph().Outputs))}
	if m.in, err = randomInputs(eng.Graph(), given, shapes, 0); err != nil {
		return err
	}
	if _, err := m.once(ctx); err != nil {
		return needShapes(err, eng, given, shapes)
	}
	load := time.Since(start)
	if _, err := m.repeat(ctx, time.Duration(f.seconds*0.2*float64(time.Second))); err != nil {
		return err
	}
	lat, err := m.repeat(ctx, time.Duration(f.seconds*float64(time.Second)))
	if err != nil {
		return err
	}
	p, err := eng.PlanFor(m.in)
	if err != nil {
		return err
	}
	mem := p.Memory()
	slices.Sort(lat)
	res := benchResult{Model: model, MedianMS: quantile(lat, .5), P90MS: quantile(lat, .9), P99MS: quantile(lat, .99), MinMS: quantile(lat, 0), Runs: len(lat),
		LoadS: load.Seconds(), ArenaBytes: mem.Arena, ArenaBoundBytes: mem.ArenaBound, WeightBytes: mem.Weights, PackedBytes: mem.Packed,
		PlannedBytes: loaded + int64(mem.Peak()-mem.Derived), PeakRSSBytes: memoryStatus("VmHWM"), Precision: eng.Precision().String(), Choice: eng.Choice, ISA: cpu.ISA(), Threads: f.threadCount()}
	return res.print(e, f.json)
}

func (r *benchResult) print(e *env, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(e.out).Encode(r)
	}
	const mib = 1 << 20
	if r.Choice != nil {
		fmt.Fprintln(e.out, r.Choice)
	}
	_, err := fmt.Fprintf(e.out, `%s  %s, %s, %d threads
latency  median %.3f ms   p90 %.3f   p99 %.3f   min %.3f   (%d runs)
load     %.3f s to the first answer
memory   weights %.2f MiB, packed %.2f, arena %.2f (bound %.2f), peak of the process %.1f (planned %.1f)
`, r.Model, r.Precision, r.ISA, r.Threads, r.MedianMS, r.P90MS, r.P99MS, r.MinMS, r.Runs, r.LoadS,
		float64(r.WeightBytes)/mib, float64(r.PackedBytes)/mib, float64(r.ArenaBytes)/mib, float64(r.ArenaBoundBytes)/mib, float64(r.PeakRSSBytes)/mib, float64(r.PlannedBytes)/mib)
	return err
}

// quantile gives quantile q of sorted durations in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i].Nanoseconds()) / 1e6
}

// reserveProcessors gives the collector and the network a processor beside the
// compute threads.
func reserveProcessors(threads int) { runtime.GOMAXPROCS(max(threads+1, runtime.NumCPU())) }

// onlyCompute takes that back where nothing but one model runs and nothing allocates. A
// further thread of the runtime takes over a goroutine each time the scheduler interrupts
// one, every 10 ms, and the system then lets it wait for a processor for up to 4 ms: the
// slowest 1 % of mobilenet_v2's runs on both processors took twice the median, and take
// 1.4 times.
func onlyCompute(threads int) { runtime.GOMAXPROCS(max(threads, runtime.NumCPU())) }
