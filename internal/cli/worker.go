package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
)

// workerRequest is one line of the measuring protocol.
type workerRequest struct {
	Model   string   `json:"model"`
	Threads int      `json:"threads"`
	Inputs  string   `json:"inputs"`
	Check   string   `json:"check"`
	RunS    *float64 `json:"run_s"`
	Quit    int      `json:"quit"`
}

// worker serves the measuring protocol for one model.
type worker struct {
	flags     *engineFlags
	measured  *measured
	closePool func()
}

// runWorker answers requests until quit or the end of the input. A line that is no
// request, and inputs that do not fit, are answered with their error; a model that fails
// ends the worker.
func runWorker(ctx context.Context, e *env, flags *engineFlags) error {
	w := &worker{flags: flags}
	defer w.close()
	enc := json.NewEncoder(e.out)
	sc := bufio.NewScanner(e.in)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var req workerRequest
		err := json.Unmarshal(sc.Bytes(), &req)
		var answer any
		if err == nil {
			answer, err = w.answer(ctx, &req)
		} else {
			err = badRequest{fmt.Errorf("request %.200q: %w", sc.Text(), err)}
		}
		if bad, ok := errors.AsType[badRequest](err); ok {
			answer, err = map[string]string{"error": bad.Error()}, nil
		}
		if err != nil {
			return err
		}
		if err := enc.Encode(answer); err != nil {
			return err
		}
		if req.Quit != 0 {
			return nil
		}
	}
	return sc.Err()
}

// badRequest is a mistake that is answered with an error; any other error ends the worker.
type badRequest struct{ error }

// precision is that of the loaded model, or what was asked for.
func (w *worker) precision() string {
	if w.measured == nil {
		return w.flags.precision
	}
	return w.measured.engine.Precision().String()
}

func (w *worker) close() {
	if w.measured != nil {
		w.measured.engine.Close()
		w.closePool()
		w.measured = nil
	}
}

func (w *worker) answer(ctx context.Context, req *workerRequest) (any, error) {
	switch {
	case req.Quit != 0:
		return map[string]any{"rss_peak": memoryStatus("VmHWM"), "notes": fmt.Sprintf("salver %s %s %s", Version, cpu.ISA(), w.precision())}, nil
	case req.Model != "":
		return w.load(ctx, req)
	case req.RunS != nil && w.measured != nil:
		lat, err := w.measured.repeat(ctx, time.Duration(*req.RunS*float64(time.Second)))
		if err != nil {
			return nil, err
		}
		seconds := make([]float64, len(lat))
		for i, d := range lat {
			seconds[i] = d.Seconds()
		}
		return map[string]any{"lat_s": seconds}, nil
	}
	return nil, badRequest{errors.New("expected a model first, then run_s or quit")}
}

func (w *worker) load(ctx context.Context, req *workerRequest) (any, error) {
	w.close()
	before := memoryStatus("VmRSS")
	flags := *w.flags
	if req.Threads > 0 {
		flags.threads = req.Threads
	}
	o, closePool, err := flags.options()
	if err != nil {
		return nil, err
	}
	onlyCompute(flags.threadCount())
	start := time.Now()
	eng, err := engine.Load(req.Model, o)
	if err != nil {
		closePool()
		return nil, err
	}
	w.closePool = closePool
	w.measured = &measured{engine: eng, out: make([]*tensor.Tensor, len(eng.Graph().Outputs))}
	if w.measured.in, err = archiveInputs(req.Inputs, eng.Graph()); err != nil {
		w.close()
		return nil, badRequest{err}
	}
	if _, err := w.measured.once(ctx); err != nil {
		w.close()
		if exec.IsInputError(err) {
			err = badRequest{err}
		}
		return nil, err
	}
	load := time.Since(start)
	outputs := fmt.Sprintf("%s.salver.%d.npz", req.Inputs, os.Getpid()) // several workers may share the inputs
	if err := w.check(ctx, req.Check, outputs); err != nil {
		return nil, err
	}
	return map[string]any{"load_s": load.Seconds(), "rss_before": before, "rss_loaded": memoryStatus("VmRSS"), "outputs": outputs}, nil
}

// check runs the inputs of an archive and writes the outputs as "out:NAME".
func (w *worker) check(ctx context.Context, from, to string) error {
	in, err := archiveInputs(from, w.measured.engine.Graph())
	if err != nil {
		return err
	}
	out, err := w.measured.engine.Run(ctx, in)
	if err != nil {
		return err
	}
	var arrays []npy.Array
	for i, o := range w.measured.engine.Graph().Outputs {
		arrays = append(arrays, npy.Array{Name: "out:" + o.Name, Tensor: out[i]})
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	return errors.Join(npy.WriteArchive(f, false, arrays...), f.Close())
}

// archiveInputs reads the arrays "in:NAME" of an npz for a graph's inputs.
func archiveInputs(file string, g *ir.Graph) ([]*tensor.Tensor, error) {
	arrays, err := npy.ReadArchive(file)
	if err != nil {
		return nil, err
	}
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if in[i] = arrays["in:"+v.Name]; in[i] == nil {
			return nil, fmt.Errorf("%s: has no array %q", file, "in:"+v.Name)
		}
	}
	return in, nil
}
