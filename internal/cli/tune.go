package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/tune"
	"github.com/spf13/cobra"
)

type tuneFlags struct {
	engineFlags
	inputs, shapes []string
	seconds        float64
	cache          string
	memory         size
	maxError       float64
	again, json    bool
}

func newTune(e *env) *cobra.Command {
	var f tuneFlags
	c := &cobra.Command{
		Use:   "tune MODEL",
		Short: "Measure which kernels of a model are the fastest on this machine",
		Long: `Measures the kernels that each layer of a model can be computed with (how its work is cut,
register tiles, threads) and writes the choices to a cache, which serve, run, bench and the
others read from then on. The cache holds for this processor, this instruction set and this
version of the program; another's is refused. Results have the same bits as before.

With --memory also algorithms that round differently may be taken (Winograd's, for
convolutions of 3×3), if their packed weights need no more than so many bytes in addition and
the outputs stay within --tolerance. They are chosen for this model alone, whatever the batch
and the threads.`,
		Example: "  salver tune model.onnx\n  salver tune model.onnx --shape x=8x3x224x224 --threads 2 --seconds 120\n  salver tune model.onnx --memory 100MiB --json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("tolerance") && f.memory == 0 {
				return misusef("--tolerance bounds what --memory allows: give both")
			}
			return f.run(cmd.Context(), e, args[0])
		},
	}
	f.engineFlags.addPrepare(c)
	fl := c.Flags()
	fl.StringArrayVar(&f.inputs, "input", nil, "NAME=FILE (.npy, .npz or .pb)")
	fl.StringArrayVar(&f.shapes, "shape", nil, "NAME=1x3x224x224 for random inputs")
	fl.Float64Var(&f.seconds, "seconds", 60, "how long to measure at most; less if the fastest times have settled")
	fl.StringVar(&f.cache, "cache", "", "file to write; salver/tuning.json in the folder for caches ($XDG_CACHE_HOME) without it")
	fl.Var(&f.memory, "memory", "allow algorithms that round differently so much more memory, e.g. 100MiB")
	fl.Float64Var(&f.maxError, "tolerance", 1e-3, "of --memory: the largest deviation of a layer's results and of the outputs, relative to the largest")
	fl.BoolVar(&f.again, "again", false, "measure layers anew that the cache has already")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func (f *tuneFlags) run(ctx context.Context, e *env, path string) error {
	if !(f.seconds > 0) || math.IsInf(f.seconds, 0) {
		return misusef("--seconds %v: expected a positive number", f.seconds)
	}
	if !(f.maxError > 0 && f.maxError < 1) {
		return misusef("--tolerance %v: expected a number between 0 and 1", f.maxError)
	}
	if f.precision == precisionAuto {
		return misusef("--precision auto: a model is tuned in one precision; give fp32 or bf16")
	}
	if llm.Recognise(path) {
		return misusef("%s is a language model: its kernels leave nothing to choose; tune takes models of tensors", path)
	}
	shapes, err := parseShapes(f.shapes)
	if err != nil {
		return err
	}
	o, closePool, err := f.options()
	if err != nil {
		return err
	}
	defer closePool()
	if f.cache == "" {
		if f.cache, err = tune.DefaultFile(); err != nil {
			return err
		}
	}
	cache, err := tune.LoadOrNew(f.cache, tune.ThisHost())
	if err != nil {
		return err
	}
	bar := newProgress(e, 1000, "thousandths")
	defer bar.done()
	inputs := func(g *ir.Graph) ([]*tensor.Tensor, error) {
		r := inputReader{model: path, graph: g}
		given, err := r.read(f.inputs)
		if err != nil {
			return nil, err
		}
		return randomInputs(g, given, shapes, 0)
	}
	t := tune.Options{Seconds: f.seconds, Memory: int(f.memory), MaxError: f.maxError, Again: f.again, Progress: bar.at}
	report, err := tune.Measure(ctx, path, inputs, o, t, cache)
	if err != nil {
		return err
	}
	bar.done()
	if report.Dropped == "" {
		if err := cache.Save(f.cache); err != nil {
			return err
		}
	}
	return f.report(e, report)
}

func (f *tuneFlags) report(e *env, r *tune.Report) error {
	if f.json {
		return json.NewEncoder(e.out).Encode(struct {
			*tune.Report
			Cache string `json:"cache"`
		}{r, f.cache})
	}
	for _, l := range r.Changes {
		var choices []string
		for name, option := range l.Choices {
			choices = append(choices, name+"="+option)
		}
		slices.Sort(choices)
		fmt.Fprintf(e.out, "%8.1f µs, was %8.1f   %s\n                          %s\n", l.Micros, l.DefaultUS, l.Layer, strings.Join(choices, " "))
	}
	fmt.Fprintf(e.out, "%d kinds of layers with choices, %d measured, %d changed\n%.3f ms instead of %.3f (%.2f times as fast), %d threads; outputs deviate by %.2g\n",
		r.Layers, r.Measured, r.Changed, r.TunedMS, r.DefaultMS, r.DefaultMS/r.TunedMS, r.Threads, r.Error)
	if r.MoreBytes > 0 {
		fmt.Fprintf(e.out, "packed weights of other algorithms: %s\n", about(int64(r.MoreBytes)))
	}
	if r.Dropped != "" {
		_, err := fmt.Fprintf(e.out, "nothing is kept: %s\n", r.Dropped)
		return err
	}
	_, err := fmt.Fprintf(e.out, "written to %s\n", f.cache)
	return err
}

// tunedFlags say which tuning cache a command reads.
type tunedFlags struct {
	file   string
	none   bool
	stderr func() io.Writer
}

func (f *tunedFlags) add(c *cobra.Command) {
	f.stderr = c.ErrOrStderr
	c.Flags().StringVar(&f.file, "tuned", "", "the cache that salver tune wrote; without it that in the folder for caches ($XDG_CACHE_HOME), if there is one")
	c.Flags().BoolVar(&f.none, "no-tune-cache", false, "take the default kernels, whatever caches there are")
}

// chooser reads the cache; nil if there is none. One that was asked for and can't be
// used is an error, another only a line on stderr.
func (f *tunedFlags) chooser() (func(*ir.Graph) op.Chooser, error) {
	switch {
	case f.none && f.file != "":
		return nil, misusef("--tuned and --no-tune-cache exclude each other")
	case f.none || f.stderr == nil:
		return nil, nil
	case f.file != "":
		c, err := tune.Load(f.file, tune.ThisHost())
		if err != nil {
			return nil, fmt.Errorf("--tuned: %w", err)
		}
		return c.For, nil
	}
	path, err := tune.DefaultFile()
	if err != nil {
		return nil, nil // a user without a folder has no cache
	}
	c, err := tune.Load(path, tune.ThisHost())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		_, err = fmt.Fprintf(f.stderr(), "salver: the tuning cache is left out: %v\n", err)
		return nil, err
	}
	return c.For, nil
}
