// Package salver runs trained neural networks: it reads ONNX models, optimizes
// them for this machine, and computes their outputs.
//
//	m, err := salver.Open("model.onnx")
//	out, err := m.Run(ctx, map[string]*salver.Tensor{"x": x})
//
// A Session is safe for concurrent use. The answer to a run does not depend on
// what else runs, nor on the number of threads: it is the same to the last bit.
package salver

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/provider"
	"github.com/salver-ml/salver/internal/tune"
)

// Session is a model that is ready to run.
type Session struct {
	engine  *engine.Engine
	inputs  []Info
	outputs []Info
	index   map[string]int // of inputs by name
	pool    *pool.Pool
	runs    sync.RWMutex // locked for reading by runs
	closed  bool
}

// Info describes an input or output.
type Info struct {
	Name  string
	DType DType
	Shape []int    // -1 where a dimension is symbolic; nil if the rank is unknown
	Dims  []string // the dimensions as the model names them, e.g. "batch"
	// Labels are the names of an output's columns, the classes whose scores
	// they are, where the model has them (a ZipMap, whose maps are one tensor here).
	Labels []string
}

// String writes e.g. `"image" float32[batch,1,28,28]`.
func (i Info) String() string {
	if i.Shape == nil {
		return fmt.Sprintf("%q %s of any rank", i.Name, i.DType)
	}
	return fmt.Sprintf("%q %s[%s]", i.Name, i.DType, strings.Join(i.Dims, ","))
}

// Option configures Open.
type Option func(*config)

type config struct {
	engine    engine.Options
	threads   int
	ref       bool
	precision string
	tuning    string
}

// WithThreads sets how many threads one run may use; the default is one for
// each CPU that the process may use.
func WithThreads(n int) Option { return func(c *config) { c.threads = n } }

// WithLevel sets the optimization level, 0 (none) to 3 (the default).
func WithLevel(level int) Option { return func(c *config) { c.engine.Level = level } }

// WithoutPasses switches optimization passes off by name.
func WithoutPasses(names ...string) Option {
	return func(c *config) { c.engine.Off = append(c.engine.Off, names...) }
}

// WithPrecision sets the arithmetic of products of float32: "fp32" (the default),
// or "bf16", which rounds their operands to bfloat16 and is an error where the CPU
// has no AMX tiles.
func WithPrecision(name string) Option { return func(c *config) { c.precision = name } }

// WithTuning takes the kernels that `salver tune` found to be the fastest, from the
// cache at path. It is an error if the cache was not measured on this machine, with
// this instruction set and by this version.
func WithTuning(path string) Option { return func(c *config) { c.tuning = path } }

// WithReference runs every operator on its reference implementation: slow, and
// what the fast kernels are tested against.
func WithReference() Option { return func(c *config) { c.ref = true } }

// Open reads and prepares the model file at path. External data is read from
// the same folder.
func Open(path string, options ...Option) (*Session, error) {
	return open(options, func(o engine.Options) (*engine.Engine, error) { return engine.Load(path, o) })
}

// OpenFS is Open from a file system, such as an embed.FS.
func OpenFS(fsys fs.FS, path string, options ...Option) (*Session, error) {
	return open(options, func(o engine.Options) (*engine.Engine, error) { return engine.LoadFS(fsys, path, o) })
}

// Parse is Open from memory. The bytes must not change while the session is used.
func Parse(model []byte, options ...Option) (*Session, error) {
	return open(options, func(o engine.Options) (*engine.Engine, error) { return engine.Parse(model, o) })
}

func open(options []Option, load func(engine.Options) (*engine.Engine, error)) (*Session, error) {
	c, err := configure(options)
	if err != nil {
		return nil, err
	}
	p := pool.New(c.threads)
	c.engine.Pool = p
	e, err := load(c.engine)
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("salver: %w", err)
	}
	return newSession(e, p), nil
}

// configure applies options to the defaults.
func configure(options []Option) (c config, err error) {
	c = config{threads: cpu.Threads(), precision: op.FP32.String(), engine: engine.Options{Level: pass.MaxLevel}}
	for _, o := range options {
		o(&c)
	}
	if c.threads < 1 {
		return c, fmt.Errorf("salver: %d threads: expected at least 1", c.threads)
	}
	if c.engine.Precision, err = op.ParsePrecision(c.precision); err != nil {
		return c, fmt.Errorf("salver: %w", err)
	}
	if c.ref {
		c.engine.Provider = provider.Ref
	}
	if c.tuning != "" {
		cache, err := tune.Load(c.tuning, tune.ThisHost())
		if err != nil {
			return c, fmt.Errorf("salver: %w", err)
		}
		c.engine.Tuned = cache.For
	}
	return c, nil
}

func newSession(e *engine.Engine, p *pool.Pool) *Session {
	s := &Session{engine: e, pool: p, index: map[string]int{}}
	for i, v := range e.Graph().Inputs {
		s.inputs = append(s.inputs, infoOf(v.Name, v.Type))
		s.index[v.Name] = i
	}
	for _, o := range e.Graph().Outputs {
		info := infoOf(o.Name, o.Value.Type)
		info.Labels = op.ClassLabels(o.Value)
		s.outputs = append(s.outputs, info)
	}
	return s
}

func infoOf(name string, t ir.Type) Info {
	info := Info{Name: name, DType: t.DType}
	if t.Shape == nil {
		return info
	}
	info.Shape, info.Dims = []int{}, []string{}
	for _, d := range t.Shape {
		n, ok := d.Int()
		if !ok {
			n = -1
		}
		info.Shape = append(info.Shape, n)
		info.Dims = append(info.Dims, d.String())
	}
	return info
}

// Inputs describes the model's inputs in order.
func (s *Session) Inputs() []Info { return slices.Clone(s.inputs) }

// Outputs describes the model's outputs in order.
func (s *Session) Outputs() []Info { return slices.Clone(s.outputs) }

// Run computes all outputs. The inputs are not changed and not kept; the
// outputs belong to the caller. Missing, unknown and wrongly shaped inputs are
// errors that say what was expected and found.
func (s *Session) Run(ctx context.Context, inputs map[string]*Tensor) (map[string]*Tensor, error) {
	in, err := s.order(inputs)
	if err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	defer s.runs.RUnlock()
	out, err := s.engine.Run(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("salver: %w", err)
	}
	named := make(map[string]*Tensor, len(out))
	for i, t := range out {
		named[s.outputs[i].Name] = t
	}
	return named, nil
}

// order puts named inputs into the model's order.
func (s *Session) order(inputs map[string]*Tensor) ([]*Tensor, error) {
	in := make([]*Tensor, len(s.inputs))
	var unknown []string
	for name, t := range inputs {
		i, ok := s.index[name]
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		in[i] = t
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		return nil, fmt.Errorf("salver: the model has no input %q; its inputs are %v", unknown, s.inputs)
	}
	return in, nil
}

// RunInto is Run with inputs and outputs in the model's order. Where outputs[i]
// is not nil it must have the result's type and shape and is written in place,
// so that nothing is allocated; where it is nil it is set to a new tensor. It is
// written while inputs are still read, so that it must not share their memory.
func (s *Session) RunInto(ctx context.Context, inputs, outputs []*Tensor) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.runs.RUnlock()
	if err := s.engine.RunInto(ctx, inputs, outputs); err != nil {
		return fmt.Errorf("salver: %w", err)
	}
	return nil
}

// begin lets a run begin, after which s.runs is to be unlocked for reading.
func (s *Session) begin() error {
	s.runs.RLock()
	if s.closed {
		s.runs.RUnlock()
		return errClosed
	}
	return nil
}

// errClosed is what runs fail with after Close.
var errClosed = fmt.Errorf("salver: the model is not open any more: %w", fs.ErrClosed)

// Close waits for the runs in progress and frees the model. Runs that come later fail with
// fs.ErrClosed; closing again does nothing.
func (s *Session) Close() error {
	s.runs.Lock()
	defer s.runs.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.engine.Close()
	s.pool.Close()
	return err
}
