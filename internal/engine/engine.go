// Package engine goes the whole way from a model file to a session: it reads,
// optimizes, and prepares to run.
package engine

import (
	"io/fs"
	"runtime/debug"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops" // registers the operators
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
)

// Options says how a model is prepared.
type Options struct {
	Level    int               // optimization level, 0 to pass.MaxLevel
	Off      []string          // passes to leave out
	Provider provider.Provider // nil is provider.CPU
	// Precision is what products of float32 may be computed in; one that this machine
	// can't compute in is an error.
	Precision op.Precision
	Auto      *Auto      // chooses Precision, if it is not nil
	Pool      *pool.Pool // nil runs on the caller's thread
	Alone     float64    // runs with less work than this stay off the pool, as the smallest always do: see exec.Options
	// Tuned gives what decides between kernels for an optimized graph; it may give
	// nil, which takes the defaults, and may be nil.
	Tuned func(*ir.Graph) op.Chooser
	// MaxMemory bounds, in bytes, what a run may need; 0 allows any amount.
	MaxMemory int
	Overhead  int // bytes that the process needs besides, which count against MaxMemory
}

// leastShared is the work below which a run stays on its caller's thread: about ten
// microseconds, in which another thread gains nothing, and for which the caller would wait if
// another process takes that thread's processor in the midst of it.
const leastShared = 1e6

// Engine is a model that is ready to run.
type Engine struct {
	*exec.Session
	Model     *onnx.Model
	Report    *pass.Report // what the passes did
	pool      *pool.Pool
	precision op.Precision
	Choice    *Choice // what Options.Auto found; nil without it
	Rows      error   // why requests cannot be joined along the first dimension; nil if they can
}

// Load reads the model file at path and prepares it.
func Load(path string, o Options) (*Engine, error) {
	return open(func() (*onnx.Model, error) { return onnx.Load(path) }, o)
}

// LoadFS is Load from a file system.
func LoadFS(fsys fs.FS, path string, o Options) (*Engine, error) {
	return open(func() (*onnx.Model, error) { return onnx.LoadFS(fsys, path) }, o)
}

// Parse is Load from memory.
func Parse(b []byte, o Options) (*Engine, error) {
	return open(func() (*onnx.Model, error) { return onnx.Parse(b) }, o)
}

// open reads a model and prepares it. A defect of the importer, a pass or an
// operator that panics over a model fails this model, not the process.
func open(read func() (*onnx.Model, error), o Options) (e *Engine, err error) {
	if o.Auto != nil {
		return chooseFrom(read, o)
	}
	var m *onnx.Model
	defer func() {
		if v := recover(); v != nil {
			e, err = nil, &exec.PanicError{Value: v, Stack: debug.Stack()}
			if m != nil {
				m.Close()
			}
		}
	}()
	if m, err = read(); err != nil {
		return nil, err
	}
	return prepare(m, o)
}

func prepare(m *onnx.Model, o Options) (*Engine, error) {
	if err := o.Precision.Available(); err != nil {
		m.Close()
		return nil, err
	}
	rows := exec.ProveRows(m.Graph) // before passes make operators whose rows are harder to follow
	untied := tieSizes(m, o)
	report, err := o.optimize(m.Graph)
	if err != nil {
		m.Close()
		return nil, err
	}
	if rows != nil && untied == nil && exec.ProveRows(m.Graph) == nil { // passes may also untangle rows
		rows = nil
	}
	var chooser op.Chooser
	if o.Tuned != nil {
		chooser = o.Tuned(m.Graph)
	}
	m.Release() // what the passes have read is read again when it is packed, part by part
	s := exec.New(m.Graph, exec.Options{Pool: o.Pool, Alone: max(o.Alone, leastShared), Provider: o.Provider, Precision: o.Precision, Chooser: chooser, Packed: m.Release, MaxMemory: o.MaxMemory, Overhead: o.Overhead,
		OwnConstants: true, Untied: untied})
	return &Engine{Session: s, Model: m, Report: report, Rows: rows, pool: o.Pool, precision: o.Precision}, nil
}

// optimize runs the passes over a graph.
func (o Options) optimize(g *ir.Graph) (*pass.Report, error) {
	return pass.Run(g, passes.All, pass.Options{Level: o.Level, Off: o.Off, Pool: o.Pool, Precision: o.Precision})
}

// tieSizes ties sizes of the model's graph (op.TieSizes), and gives what optimizes the graph
// for inputs of others; nil if there is nothing to tie.
func tieSizes(m *onnx.Model, o Options) func() (*ir.Graph, error) {
	if o.Level == 0 { // nothing is gained from it
		return nil
	}
	plain, tied := m.Graph, op.TieSizes(m.Graph)
	if tied == nil {
		return nil
	}
	m.Graph = tied
	return func() (*ir.Graph, error) {
		_, err := o.optimize(plain)
		return plain, err
	}
}

// Inputs are the model's inputs in order.
func (e *Engine) Inputs() []*ir.Value { return e.Graph().Inputs }

// Close frees everything that the model holds. No run may be in progress.
func (e *Engine) Close() error {
	e.Session.Close()
	return e.Model.Close()
}

// Precision is what products of float32 may be computed in.
func (e *Engine) Precision() op.Precision { return e.precision }

// Pool is the thread pool that the engine computes on; nil is the caller's thread.
func (e *Engine) Pool() *pool.Pool { return e.pool }
