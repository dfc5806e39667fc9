package tune

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Options says how long to measure and what may change.
type Options struct {
	Seconds float64 // of measuring, at most about; less if the best times have settled
	// Memory is the bytes of packed weights that a model may need more for algorithms
	// that round differently; 0 leaves them out.
	Memory int
	// MaxError bounds the deviation of such an algorithm's results, and in the end of
	// the model's outputs, relative to the largest.
	MaxError float64
	Again    bool // measures layers that the cache has, too
	// Progress is told how much is done, in thousandths; it may be nil.
	Progress func(thousandths int)
}

// Report is what was found.
type Report struct {
	Model     string  `json:"model"`
	Host      Host    `json:"host"`
	Threads   int     `json:"threads"`
	Layers    int     `json:"layers"`   // kinds of layers with choices
	Measured  int     `json:"measured"` // of them, now; the others were in the cache
	Changed   int     `json:"changed"`  // of them, with another choice than the default
	DefaultMS float64 `json:"default_ms"`
	TunedMS   float64 `json:"tuned_ms"`
	Error     float64 `json:"error"`       // of the outputs against the default's, unless Dropped says more
	MoreBytes int     `json:"more_packed"` // bytes of packed weights
	Dropped   string  `json:"dropped,omitempty"`
	Changes   []Layer `json:"changes"` // layers with other choices than the default
}

// model is a model that is being tuned.
type model struct {
	Options
	path   string
	load   engine.Options
	in     []*tensor.Tensor
	cache  *Cache
	report *Report
	found  []*Layer
	clock  clock

	fingerprint string
	exact       map[string]Choices // of this model
}

// group is the layers of one signature.
type group struct {
	key   string
	exact string // the signature of choices of the arithmetic
	steps []int
	asked []op.Choice
	time  time.Duration // of all in a run
}

// Measure measures the layers of the model file at path for inputs and adds what it
// finds to the cache. o must have no Tuned.
func Measure(ctx context.Context, path string, inputs func(*ir.Graph) ([]*tensor.Tensor, error), o engine.Options, t Options, c *Cache) (*Report, error) {
	clock, release := newClock(o.Pool.Threads())
	defer release()
	m := &model{Options: t, path: path, load: o, cache: c, clock: clock}
	m.report = &Report{Model: path, Host: c.Host, Threads: o.Pool.Threads(), Changes: []Layer{}}
	if err := m.measure(ctx, inputs); err != nil {
		return nil, err
	}
	return m.report, m.compare(ctx)
}

// measure loads the model and measures its layers.
func (m *model) measure(ctx context.Context, inputs func(*ir.Graph) ([]*tensor.Tensor, error)) error {
	notes := &recorder{cache: m.cache, asked: map[*ir.Node]*group{}}
	o := m.load
	o.Tuned = notes.of
	e, err := engine.Load(m.path, o)
	if err != nil {
		return err
	}
	m.fingerprint = Fingerprint(e.Graph())
	if m.exact = m.cache.exact(m.fingerprint); m.exact == nil {
		m.exact = map[string]Choices{}
	}
	if m.in, err = inputs(e.Graph()); err == nil {
		err = notEmpty(e.Graph(), m.in)
	}
	if err == nil {
		err = m.layers(ctx, e, notes)
	}
	return errors.Join(err, e.Close())
}

// notEmpty refuses inputs with which layers compute nothing: what is the fastest
// then says nothing of others.
func notEmpty(g *ir.Graph, in []*tensor.Tensor) error {
	for i, t := range in {
		if slices.Contains(t.Shape, 0) {
			return fmt.Errorf("input %q has shape %v, which holds no element: expected one to measure with", g.Inputs[i].Name, t.Shape)
		}
	}
	return nil
}

// recorder notes which choices nodes ask for.
type recorder struct {
	cache *Cache
	base  op.Chooser
	mu    sync.Mutex
	asked map[*ir.Node]*group
}

func (r *recorder) of(g *ir.Graph) op.Chooser {
	r.base = r.cache.For(g)
	return r
}

// Choose notes the choice and gives the cache's answer.
func (r *recorder) Choose(p *op.Prep, c op.Choice) string {
	r.mu.Lock()
	g := r.asked[p.Node]
	if g == nil {
		g = &group{key: Signature(p, false), exact: Signature(p, true)}
		r.asked[p.Node] = g
	}
	if !slices.ContainsFunc(g.asked, func(a op.Choice) bool { return a.Name == c.Name }) {
		g.asked = append(g.asked, c)
	}
	r.mu.Unlock()
	if r.base == nil {
		return ""
	}
	return r.base.Choose(p, c)
}

// profileRuns is how often the model runs to learn where its time goes.
const profileRuns = 3

// layers measures the layers of the plan for the inputs.
func (m *model) layers(ctx context.Context, e *engine.Engine, notes *recorder) error {
	plan, times, err := e.Profile(ctx, m.in, profileRuns)
	if err != nil {
		return err
	}
	groups := m.groups(plan, times, notes)
	m.report.Layers = len(groups)
	if !m.Again {
		groups = slices.DeleteFunc(groups, m.known)
	}
	evict := newEvictor(m.load.Pool, m.clock, e.MemoryBytes())
	defer evict.close()
	m.load.Pool.Begin()
	defer m.load.Pool.End()
	total := time.Duration(0)
	for _, g := range groups {
		total += g.time
	}
	const forLayers = 0.85
	left, start := m.Seconds*forLayers, time.Now()
	for i, g := range groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		share := 0.25/float64(len(groups)) + 0.75*float64(g.time)/float64(max(total, 1))
		if err := m.layer(plan, g, evict, time.Duration(left*share*float64(time.Second))); err != nil {
			return err
		}
		m.progress(max(time.Since(start).Seconds()/max(m.Seconds, 1e-9), float64(i+1)/float64(len(groups))*forLayers))
	}
	return nil
}

func (m *model) progress(part float64) {
	if m.Progress != nil {
		m.Progress(int(1000 * min(part, 1)))
	}
}

// groups collects the steps with choices by signature, those that take longest first.
func (m *model) groups(plan *exec.Plan, times []time.Duration, notes *recorder) []*group {
	by := map[string]*group{}
	var list []*group
	for i, st := range plan.Steps() {
		asked := notes.asked[st.Node]
		if asked == nil || !st.Fast || st.Dynamic || st.Joined {
			continue
		}
		g := by[asked.key]
		if g == nil {
			g = &group{key: asked.key, exact: asked.exact, asked: asked.asked}
			by[g.key], list = g, append(list, g)
		}
		g.steps = append(g.steps, i)
		g.time += times[i]
	}
	slices.SortStableFunc(list, func(a, b *group) int { return int(b.time - a.time) })
	return list
}

// known reports whether the cache has all choices of a group, so that the same
// kernels are chosen again.
func (m *model) known(g *group) bool {
	l := m.cache.layers[layerKey{g.key, m.report.Threads}]
	for _, c := range g.asked {
		if _, ok := m.exact[g.exact][c.Name]; c.Arithmetic && !ok && m.Memory > 0 {
			return false
		}
		if c.Arithmetic {
			continue
		}
		if l == nil || l.Choices[c.Name] == "" {
			return false
		}
	}
	return true
}

// layer measures one group on its first step, for about d.
func (m *model) layer(plan *exec.Plan, g *group, evict *evictor, d time.Duration) error {
	x, err := plan.Isolate(g.steps[0])
	if err != nil {
		return nil // operands of types that random numbers don't do for
	}
	defer x.Close()
	old := m.cache.layers[layerKey{g.key, m.report.Threads}]
	s := &search{step: x, evict: evict, decided: Choices{}, deadline: time.Now().Add(d), exact: m.exact[g.exact],
		allowed: m.Memory > 0, room: (m.Memory - m.report.MoreBytes) / len(g.steps), maxError: m.MaxError}
	if old != nil && !m.Again {
		maps.Copy(s.decided, old.Choices)
	}
	if err := s.run(); err != nil {
		return err
	}
	m.report.Measured++
	l := &Layer{Layer: g.key, Threads: m.report.Threads, Choices: Choices{}, Micros: micros(s.best), DefaultUS: micros(s.base)}
	if old != nil && !m.Again {
		l.Micros, l.DefaultUS = tenths(old.Micros*float64(s.best)/float64(max(s.base, 1))), old.DefaultUS
	}
	exact := Choices{}
	changed := false
	for name, option := range s.decided {
		if s.isExact[name] {
			exact[name] = option
		} else {
			l.Choices[name] = option
		}
	}
	for _, c := range g.asked {
		if got, ok := s.decided[c.Name]; ok && got != c.Options[0] {
			changed = true
		}
	}
	if len(exact) > 0 && s.allowed {
		m.exact[g.exact] = exact
	}
	m.report.MoreBytes += s.used * len(g.steps)
	m.found = append(m.found, l)
	if changed {
		m.report.Changed++
		shown := *l
		shown.Choices = s.decided
		m.report.Changes = append(m.report.Changes, shown)
	}
	return nil
}

func micros(d time.Duration) float64 { return tenths(float64(d.Nanoseconds()) / 1000) }

func tenths(x float64) float64 { return math.Round(10*x) / 10 }

// compare runs the model with and without what was found, and keeps it if the
// outputs agree and the time is no worse.
func (m *model) compare(ctx context.Context) error {
	tuned := NewCache(m.cache.Host)
	for k, l := range m.cache.layers {
		tuned.layers[k] = l
	}
	for _, l := range m.found {
		tuned.layers[layerKey{l.Layer, l.Threads}] = l
	}
	if ours := exactModel(m.fingerprint, filepath.Base(m.path), m.exact); ours != nil {
		tuned.models[m.fingerprint] = ours
	}
	with := m.load
	with.Tuned = tuned.For
	deviation, err := m.race(ctx, m.load, with)
	if err != nil {
		return err
	}
	if !math.IsInf(deviation, 1) {
		m.report.Error = deviation
	}
	switch {
	case math.IsInf(deviation, 1):
		m.report.Dropped = "an output is infinite with these choices and not without, or isn't a float and differs"
	case deviation > m.MaxError:
		m.report.Dropped = fmt.Sprintf("the outputs deviate by %.3g, more than the allowed %.3g", deviation, m.MaxError)
	case m.report.TunedMS > noWorse*m.report.DefaultMS:
		m.report.Dropped = fmt.Sprintf("the model takes %.3f ms with these choices and %.3f without: the machine was too busy to measure", m.report.TunedMS, m.report.DefaultMS)
	default:
		m.cache.layers = tuned.layers
		if ours := tuned.models[m.fingerprint]; ours != nil {
			m.cache.models[m.fingerprint] = ours
		}
	}
	m.progress(1)
	return nil
}

// noWorse is how much longer than by default a tuned model may seem to take.
const noWorse = 1.02

// exactModel lists a model's choices of the arithmetic in order; nil if there are none.
func exactModel(fingerprint, name string, by map[string]Choices) *Model {
	if len(by) == 0 {
		return nil
	}
	m := &Model{Model: fingerprint, Name: name}
	for layer, choices := range by {
		m.Layers = append(m.Layers, Exact{layer, choices})
	}
	sort.Slice(m.Layers, func(a, b int) bool { return m.Layers[a].Layer < m.Layers[b].Layer })
	return m
}

// race runs the model prepared in two ways in turns, and gives how far the
// outputs are apart.
func (m *model) race(ctx context.Context, a, b engine.Options) (deviation float64, err error) {
	var engines [2]*engine.Engine
	var outputs [2][][]*tensor.Tensor
	best := [2]float64{math.Inf(1), math.Inf(1)}
	for i, o := range []engine.Options{a, b} {
		e, err := engine.Load(m.path, o)
		if err != nil {
			return 0, err
		}
		defer e.Close()
		out, err := e.Run(ctx, m.in)
		if err != nil {
			return 0, err
		}
		engines[i], outputs[i] = e, [][]*tensor.Tensor{out}
	}
	end := time.Now().Add(time.Duration(m.Seconds * 0.15 * float64(time.Second)))
	enough := newSettled(len(engines))
	for round := 0; round < 5 || time.Now().Before(end) && !enough.settled(); round++ {
		for i := range engines {
			which := (i + round) % 2
			into := outputs[which][0]
			took, err := m.clock.time(func() error { return engines[which].RunInto(ctx, m.in, into) })
			if err != nil {
				return 0, errors.Join(err, ctx.Err())
			}
			best[which] = min(best[which], took.Seconds())
			enough.add(which, took)
		}
	}
	m.report.DefaultMS, m.report.TunedMS = 1e3*best[0], 1e3*best[1]
	return engine.Deviation(outputs[1], outputs[0]), nil
}
