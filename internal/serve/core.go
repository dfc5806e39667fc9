package serve

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/repo"
)

// Control says who decides which models are loaded (Triton's model control mode).
type Control uint8

const (
	ControlNone     Control = iota // all models at start; Load and Unload are refused
	ControlExplicit                // those of Options.LoadAtStart, then by Load and Unload
)

// Options configure a Core. The zero value serves models that are registered.
type Options struct {
	Open         Opener             // loads model files; needed with Repositories
	Repositories []*repo.Repository // where models come from
	Control      Control
	LoadAtStart  []string // ControlExplicit: names, or "*" for all
	LoadThreads  int      // models loaded at once; 0 means 2
	// ReadyWithout makes the server Ready when LoadAll has ended, though some
	// models failed to load; otherwise it waits for them.
	ReadyWithout bool

	// Batching is what models get whose configuration says nothing: see Defaults.
	Batching Defaults

	Log *slog.Logger // nil discards
}

// Core is the server's state. All methods are safe for concurrent use.
type Core struct {
	opts Options
	log  *slog.Logger

	models   atomic.Pointer[map[string]*model] // what is served; copied on change
	gate     gate                              // requests inside; shut at the end
	stopping atomic.Bool                       // not ready any more
	loaded   atomic.Bool                       // LoadAll has returned
	refused  [len(kindNames)]atomic.Uint64     // requests that reached no model

	background sync.WaitGroup // models being closed
	loading    sync.Map       // name → *sync.Mutex, held while it is loaded or unloaded

	mu     sync.Mutex                       // guards changes of models, and states
	states map[string]map[string]IndexEntry // by name and version: what is not served, and why
}

// model is what is served under one name.
type model struct {
	name     string
	versions []*servable // ascending; never empty
}

func (m *model) find(version string) *servable {
	if version == "" {
		return m.versions[len(m.versions)-1]
	}
	for _, s := range m.versions {
		if s.versionText == version {
			return s
		}
	}
	return nil
}

// New makes a Core without models: call Register, LoadAll or Load.
func New(o Options) *Core {
	c := &Core{opts: o, log: o.Log, states: map[string]map[string]IndexEntry{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.models.Store(&map[string]*model{})
	if len(o.Repositories) == 0 {
		c.loaded.Store(true)
	}
	return c
}

// Register serves a model that is in memory. The backend belongs to the Core
// from then on. cfg may be nil or partial: it is completed from the backend.
// Registering a version again replaces it.
func (c *Core) Register(name string, version int64, b Backend, cfg *repo.Config) error {
	if err := repo.CheckName(name); err != nil {
		return Errorf(InvalidArgument, "%w", err)
	}
	if !c.gate.enter() {
		return errDraining()
	}
	defer c.gate.leave()
	s, err := newServable(context.Background(), name, version, b, cfg, c)
	if err != nil {
		return err
	}
	old := c.swap(name, func(vs []*servable) []*servable {
		vs = slices.DeleteFunc(vs, func(o *servable) bool { return o.version == version })
		return append(vs, s)
	})
	c.retire(old)
	return nil
}

// swap replaces the versions served under a name and returns those that went.
func (c *Core) swap(name string, change func([]*servable) []*servable) (gone []*servable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	models := maps.Clone(*c.models.Load())
	var before, after []*servable
	if m := models[name]; m != nil {
		before = m.versions
	}
	after = change(slices.Clone(before))
	slices.SortFunc(after, func(a, b *servable) int { return cmp.Compare(a.version, b.version) })
	if len(after) == 0 {
		delete(models, name)
	} else {
		models[name] = &model{name: name, versions: after}
	}
	c.models.Store(&models)
	for _, s := range before {
		if !slices.Contains(after, s) {
			gone = append(gone, s)
		}
	}
	return gone
}

// retire closes servables once their last request is done, without waiting for that.
func (c *Core) retire(gone []*servable) {
	for _, s := range gone {
		empty := s.gate.shut()
		c.background.Go(func() {
			<-empty
			c.closeServable(s)
		})
	}
}

func (c *Core) closeServable(s *servable) {
	s.close.Do(func() {
		s.batcher.Close()
		defer c.unloaded(s)
		if err := s.backend.Close(); err != nil {
			c.log.Error("closing a model", "model", s.name, "version", s.version, "error", err)
		}
	})
}

// lookup finds a version and enters it; the caller leaves its gate.
func (c *Core) lookup(name, version string) (*servable, error) {
	for {
		m := (*c.models.Load())[name]
		if m == nil {
			return nil, c.errNoModel(name, version)
		}
		s := m.find(version)
		if s == nil {
			return nil, c.errNoModel(name, version)
		}
		if s.gate.enter() {
			return s, nil
		}
		// It was replaced between the look and the step: look again.
	}
}

func (c *Core) errNoModel(name, version string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for v, e := range c.states[name] {
		if (version == "" || version == v) && e.State != "" {
			if e.State == StateUnavailable && e.Reason == reasonUnloaded {
				return Errorf(NotFound, "model %q is unloaded", name)
			}
			return Errorf(Unavailable, "model %q%s is not ready: its state is %s; the repository index says why", name, versionWords(v), e.State)
		}
	}
	m := (*c.models.Load())[name]
	if m != nil {
		return Errorf(NotFound, "model %q has no version %q; ready are %s", name, version, versionList(m))
	}
	return Errorf(NotFound, "no model is called %q; ready are %s", name, nameList(slices.Sorted(maps.Keys(*c.models.Load()))))
}

func versionWords(v string) string {
	if v == "" {
		return ""
	}
	return " version " + v
}

func versionList(m *model) string {
	var vs []string
	for _, s := range m.versions {
		vs = append(vs, s.versionText)
	}
	return nameList(vs)
}

// nameList shows up to eight names.
func nameList(names []string) string {
	const most = 8
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%q and %d more", names[:most], len(names)-most)
	}
	return fmt.Sprintf("%q", names)
}

func errDraining() *Error {
	return &Error{Kind: Unavailable, Message: "the server is shutting down"}
}

// Live reports whether the server answers at all.
func (c *Core) Live() bool { return !c.gate.isShut() }

// Ready reports whether the server takes requests: it is not about to stop,
// and every model that should be served is, as far as Options.ReadyWithout asks
// for that. A reload of a model that is served does not matter.
func (c *Core) Ready() bool {
	if c.stopping.Load() || !c.loaded.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	models := *c.models.Load()
	for name, vs := range c.states {
		for _, e := range vs {
			waits := e.State == StateLoading || e.State == StateUnavailable && e.Reason != reasonUnloaded && !c.opts.ReadyWithout
			if waits && models[name] == nil {
				return false
			}
		}
	}
	return true
}

// ModelReady reports whether a version ("" for the default) takes requests;
// NotFound for a model that the server does not know.
func (c *Core) ModelReady(name, version string) (bool, error) {
	s, err := c.lookup(name, version)
	if err != nil {
		if AsError(err).Kind == Unavailable {
			return false, nil
		}
		return false, err
	}
	s.gate.leave()
	return !c.stopping.Load(), nil
}

// Metadata describes a version of a model ("" for the default).
func (c *Core) Metadata(name, version string) (*ModelMetadata, error) {
	s, err := c.lookup(name, version)
	if err != nil {
		return nil, err
	}
	defer s.gate.leave()
	md := &ModelMetadata{Name: name, Platform: s.config.Platform, Inputs: s.inputs, Outputs: s.outputs}
	if version != "" {
		md.Versions = []string{version}
	} else if m := (*c.models.Load())[name]; m != nil {
		for _, v := range m.versions {
			md.Versions = append(md.Versions, v.versionText)
		}
	}
	return md, nil
}

// Config is the completed configuration of a version ("" for the default). It
// is shared: don't change it.
func (c *Core) Config(name, version string) (*repo.Config, error) {
	s, err := c.lookup(name, version)
	if err != nil {
		return nil, err
	}
	defer s.gate.leave()
	return s.config, nil
}

// Batching says how many rows of different requests a version ("" for the
// default) runs together. If it is 1, reason says why.
func (c *Core) Batching(name, version string) (rows int, reason string, err error) {
	s, err := c.lookup(name, version)
	if err != nil {
		return 0, "", err
	}
	defer s.gate.leave()
	rows, reason = s.batchRows()
	return rows, reason, nil
}

// Labels are the class names of an output, from the label_filename of its
// configuration or else from the model; nil where there are none.
func (c *Core) Labels(name, version, output string) ([]string, error) {
	s, err := c.lookup(name, version)
	if err != nil {
		return nil, err
	}
	defer s.gate.leave()
	if labels := s.config.Labels[output]; labels != nil {
		return labels, nil
	}
	for _, o := range s.outputs {
		if o.Name == output {
			return o.Labels, nil
		}
	}
	return nil, nil
}

// Statistics are those of one version, of all versions of a model, or, with
// neither name nor version, of all models.
func (c *Core) Statistics(name, version string) ([]ModelStatistics, error) {
	models := *c.models.Load()
	if name != "" {
		s, err := c.lookup(name, version)
		if err != nil {
			return nil, err
		}
		s.gate.leave()
		if version != "" {
			return []ModelStatistics{s.statistics()}, nil
		}
		models = map[string]*model{name: models[name]}
	}
	all := []ModelStatistics{}
	for _, n := range slices.Sorted(maps.Keys(models)) {
		if models[n] == nil {
			continue
		}
		for _, s := range models[n].versions {
			all = append(all, s.statistics())
		}
	}
	return all, nil
}

// PrepareShutdown makes the server unready, so that balancers send no more,
// while it still answers what comes.
func (c *Core) PrepareShutdown() { c.stopping.Store(true) }

// Shutdown refuses new requests with Unavailable, waits until every accepted
// one is answered and released, and closes the models. If ctx ends first, its
// error is returned and models still in use are left open.
func (c *Core) Shutdown(ctx context.Context) error {
	c.stopping.Store(true)
	if err := wait(ctx, c.gate.shut()); err != nil {
		return fmt.Errorf("shutdown: %d requests are unfinished: %w", c.gate.inside(), err)
	}
	var gone []*servable
	for name := range *c.models.Load() {
		gone = append(gone, c.swap(name, func([]*servable) []*servable { return nil })...)
	}
	for _, s := range gone {
		if err := wait(ctx, s.gate.shut()); err != nil {
			return fmt.Errorf("shutdown: model %q is still in use: %w", s.name, err)
		}
		c.closeServable(s)
	}
	c.background.Wait() // those that were replaced or unloaded: no request holds them any more
	return nil
}

func versionText(v int64) string { return strconv.FormatInt(v, 10) }
