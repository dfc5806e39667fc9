package cli

import (
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/spf13/cobra"
)

// engineFlags are the flags of every command that prepares a model.
type engineFlags struct {
	level     int
	passes    []string
	provider  string
	threads   int
	precision string
	maxError  float64
	samples   []string
	maxMemory size
	tuned     tunedFlags
}

func (f *engineFlags) add(c *cobra.Command) {
	f.addPrepare(c)
	f.tuned.add(c)
}

// addPrepare adds the flags but those of the tuning cache.
func (f *engineFlags) addPrepare(c *cobra.Command) {
	c.Flags().IntVar(&f.level, "level", pass.MaxLevel, "optimization level, 0 (none) to 3")
	c.Flags().StringArrayVar(&f.passes, "passes", nil, "switch a pass off: --passes -NAME (may be repeated)")
	c.Flags().StringVar(&f.provider, "provider", "cpu", "cpu (fast kernels), ref (reference implementations) or subset:SEED (a test: cpu, with random operators in other memory)")
	c.Flags().IntVar(&f.threads, "threads", 0, "threads for one inference; 0 is one per usable CPU")
	c.Flags().Var(&f.maxMemory, "max-memory", "refuse runs for which the process would need more memory, e.g. 64MiB; 0 is no limit")
	c.Flags().StringVar(&f.precision, "precision", "fp32", "arithmetic of products of float32: fp32, bf16 on CPUs with AMX or AMD's AVX-512 BF16, or auto, the fastest within --max-error of fp32 on samples; block-quantized weights keep theirs, and with auto serve leaves language models at fp32")
	c.Flags().Float64Var(&f.maxError, "max-error", 0.01, "of --precision auto: the largest deviation of an output's element, relative to that output's largest")
	c.Flags().StringArrayVar(&f.samples, "samples", nil, "of --precision auto: an .npz file with inputs by name (may be repeated); random numbers without one")
}

// options checks the flags and makes a thread pool, which close stops.
func (f *engineFlags) options() (o engine.Options, closePool func(), err error) {
	if f.level < 0 || f.level > pass.MaxLevel {
		return o, nil, misusef("--level %d: expected 0 to %d", f.level, pass.MaxLevel)
	}
	precision, auto, err := f.chosenPrecision()
	if err != nil {
		return o, nil, err
	}
	if err := checkThreads(f.threads); err != nil {
		return o, nil, err
	}
	off, err := switchedOff(f.passes)
	if err != nil {
		return o, nil, err
	}
	p, err := provider.Find(f.provider)
	if err != nil {
		return o, nil, misuse{fmt.Errorf("--provider: %w", err)}
	}
	tuned, err := f.tuned.chooser()
	if err != nil {
		return o, nil, err
	}
	reserveProcessors(f.threadCount())
	overhead := 0
	if f.maxMemory > 0 {
		overhead = int(memoryStatus("VmRSS"))
		limitHeap(int64(f.maxMemory))
	}
	pl := pool.New(f.threadCount())
	return engine.Options{Level: f.level, Off: off, Provider: p, Precision: precision, Auto: auto, Tuned: tuned, Pool: pl, MaxMemory: int(f.maxMemory), Overhead: overhead}, pl.Close, nil
}

// precisionAuto leaves the choice to measurement.
const precisionAuto = "auto"

func (f *engineFlags) chosenPrecision() (op.Precision, *engine.Auto, error) {
	if f.precision == precisionAuto {
		if !(f.maxError > 0 && f.maxError < 1) {
			return 0, nil, misusef("--max-error %v: expected a number between 0 and 1", f.maxError)
		}
		return op.FP32, &engine.Auto{MaxError: f.maxError, Samples: f.readSamples}, nil
	}
	p, err := op.ParsePrecision(f.precision)
	if err == nil {
		err = p.Available()
	}
	switch {
	case err != nil:
		return 0, nil, misuse{fmt.Errorf("--precision: %w, or auto", err)}
	case len(f.samples) > 0:
		return 0, nil, misusef("--samples belongs to --precision auto")
	}
	return p, nil, nil
}

// readSamples gives the inputs of --samples, or two sets of random ones. In the first of
// these integers are all 1, so that no mask hides everything.
func (f *engineFlags) readSamples(g *ir.Graph) ([][]*tensor.Tensor, error) {
	var sets [][]*tensor.Tensor
	for _, file := range f.samples {
		r := inputReader{graph: g}
		in, err := r.read([]string{file})
		if err != nil {
			return nil, err
		}
		for i, t := range in {
			if t == nil {
				return nil, fmt.Errorf("--samples %s has no array %q; the model's inputs are %s", file, g.Inputs[i].Name, r.inputNames())
			}
		}
		sets = append(sets, in)
	}
	for seed := range uint64(2) {
		if len(f.samples) > 0 {
			break
		}
		in, err := randomInputs(g, nil, nil, seed+1)
		if err != nil {
			return nil, fmt.Errorf("random samples: %w; give --samples", err)
		}
		for _, t := range in {
			if seed == 0 && !t.DType.IsFloat() {
				for i := 0; i < len(t.Data); i += t.DType.Bits() / 8 {
					t.Data[i] = 1
				}
			}
		}
		sets = append(sets, in)
	}
	return sets, nil
}

// limitHeap makes the collector keep little garbage beside a model that has to
// fit into a limit in bytes.
func limitHeap(limit int64) {
	debug.SetGCPercent(20)
	debug.SetMemoryLimit(limit / 2) // of the Go heap: packed weights and arenas lie outside
}

func (f *engineFlags) threadCount() int {
	if f.threads > 0 {
		return f.threads
	}
	return cpu.Threads()
}

// switchedOff reads --passes values: names with a minus in front, separated by commas.
func switchedOff(values []string) (off []string, err error) {
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			n, ok := strings.CutPrefix(name, "-")
			if !ok || n == "" {
				return nil, misusef("--passes %s: expected -NAME, which switches the pass off", name)
			}
			if names := pass.Names(passes.All); !slices.Contains(names, n) {
				return nil, misusef("--passes %s: there is no such pass; the passes are %s", name, strings.Join(names, ", "))
			}
			off = append(off, n)
		}
	}
	return off, nil
}
