package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime/debug"
	"slices"
	"sort"
	"sync"

	"github.com/salver-ml/salver/internal/repo"
)

// Index is States with the models of the repositories that were never loaded.
// readyOnly leaves out what does not take requests.
func (c *Core) Index(readyOnly bool) []IndexEntry {
	list := c.States()
	if readyOnly {
		return slices.DeleteFunc(list, func(e IndexEntry) bool { return e.State != StateReady })
	}
	known := map[string]bool{}
	for _, e := range list {
		known[e.Name] = true
	}
	for _, r := range c.opts.Repositories {
		names, err := r.Names()
		if err != nil {
			c.log.Error("listing a repository", "error", err)
		}
		for _, name := range names {
			if !known[name] {
				list = append(list, IndexEntry{Name: name})
			}
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// States lists the model versions that are served, and those that are not and
// why, by name and version.
func (c *Core) States() []IndexEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []IndexEntry{}
	models := *c.models.Load()
	for _, vs := range c.states {
		for _, e := range vs {
			if m := models[e.Name]; m == nil || e.Version == "" || m.find(e.Version) == nil {
				list = append(list, e)
			}
		}
	}
	for name, m := range models {
		for _, s := range m.versions {
			list = append(list, IndexEntry{Name: name, Version: s.versionText, State: StateReady})
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return cmp.Or(cmp.Compare(list[i].Name, list[j].Name), compareVersions(list[i].Version, list[j].Version)) < 0
	})
	return list
}

// compareVersions orders numbers written as text.
func compareVersions(a, b string) int { return cmp.Or(len(a)-len(b), cmp.Compare(a, b)) }

// LoadAll loads what the options say should be served at the start. It goes on
// after a failure and returns all of them; what did load is served, but the
// server is not Ready until the others are loaded or unloaded.
func (c *Core) LoadAll(ctx context.Context) error {
	defer c.loaded.Store(true)
	names, err := c.namesAtStart()
	if err != nil {
		return err
	}
	slots := make(chan struct{}, max(1, c.opts.LoadThreads))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = c.load(ctx, name, nil)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Core) namesAtStart() ([]string, error) {
	all := map[string]string{}
	for _, r := range c.opts.Repositories {
		names, err := r.Names()
		if err != nil {
			return nil, Errorf(Internal, "%w", err)
		}
		for _, name := range names {
			if other, dup := all[name]; dup {
				return nil, Errorf(InvalidArgument, "the model %q is in %s and in %s: rename one", name, other, r.Path())
			}
			all[name] = r.Path()
		}
	}
	if c.opts.Control == ControlExplicit && !slices.Contains(c.opts.LoadAtStart, "*") {
		return c.opts.LoadAtStart, nil
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// Load loads or reloads a model of the repositories by name. The versions that
// its policy selects replace those that are served; until they are ready, and
// if they fail, the old ones go on.
func (c *Core) Load(ctx context.Context, name string) error { return c.LoadConfig(ctx, name, nil) }

// LoadConfig is Load with a configuration in JSON in place of the model's own
// file; nil for none.
func (c *Core) LoadConfig(ctx context.Context, name string, config []byte) error {
	if err := c.controllable(); err != nil {
		return err
	}
	var cfg *repo.Config
	if config != nil {
		var err error
		if cfg, err = repo.ParseJSON("config", config); err != nil {
			return Errorf(InvalidArgument, "model %q: %w", name, err)
		}
	}
	return c.load(ctx, name, cfg)
}

func (c *Core) controllable() error {
	if c.opts.Control != ControlExplicit {
		return Errorf(InvalidArgument, "models can't be loaded or unloaded over the API: the server runs with --model-control-mode=none; start it with explicit")
	}
	return nil
}

// load loads a model; cfg, if not nil, takes the place of its configuration file.
func (c *Core) load(ctx context.Context, name string, cfg *repo.Config) error {
	if !c.gate.enter() {
		return errDraining()
	}
	defer c.gate.leave()
	defer c.lockName(name)()
	m, err := c.find(name, cfg)
	if err != nil {
		if AsError(err).Kind != NotFound {
			c.setState(IndexEntry{Name: name, State: StateUnavailable, Reason: err.Error()})
		}
		return err
	}
	for _, v := range m.Versions {
		c.setState(IndexEntry{Name: name, Version: versionText(v.Number), State: StateLoading})
	}
	fresh, err := c.openVersions(ctx, m)
	if err != nil {
		for _, v := range m.Versions {
			c.setState(IndexEntry{Name: name, Version: versionText(v.Number), State: StateUnavailable, Reason: err.Error()})
		}
		c.log.Error("loading a model failed", "model", name, "error", err)
		return err
	}
	c.clearStates(name)
	c.retire(c.swap(name, func([]*servable) []*servable { return fresh }))
	return nil
}

// lockName keeps others from loading or unloading a model until the function returned is called.
func (c *Core) lockName(name string) (unlock func()) {
	l, _ := c.loading.LoadOrStore(name, &sync.Mutex{})
	l.(*sync.Mutex).Lock()
	return l.(*sync.Mutex).Unlock
}

// find reads a model from the repository that has it.
func (c *Core) find(name string, cfg *repo.Config) (*repo.Model, error) {
	if err := repo.CheckName(name); err != nil {
		return nil, Errorf(NotFound, "%w", err)
	}
	for _, r := range c.opts.Repositories {
		m, err := r.ModelWith(name, cfg)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, Errorf(InvalidArgument, "%w", err)
		}
	}
	return nil, Errorf(NotFound, "no repository has a model %q", name)
}

// openVersions loads all versions of a model, or none.
func (c *Core) openVersions(ctx context.Context, m *repo.Model) (fresh []*servable, err error) {
	defer func() {
		if err != nil {
			for _, s := range fresh {
				c.closeServable(s)
			}
		}
	}()
	for _, v := range m.Versions {
		s, err := c.openVersion(ctx, m, v)
		if err != nil {
			return fresh, err
		}
		fresh = append(fresh, s)
	}
	return fresh, nil
}

func (c *Core) openVersion(ctx context.Context, m *repo.Model, v repo.Version) (s *servable, err error) {
	b, err := c.open(ctx, OpenRequest{Model: m.Name, Version: v.Number, Path: v.Path, Config: m.Config})
	if err != nil {
		e := AsError(err)
		if e.Kind == Internal {
			e.Kind = InvalidArgument // the file is at fault
		}
		return nil, &Error{Kind: e.Kind, Err: err, Message: fmt.Sprintf("model %q version %d: %v", m.Name, v.Number, err)}
	}
	if s, err = newServable(ctx, m.Name, v.Number, b, m.Config, c); err != nil {
		if cerr := b.Close(); cerr != nil {
			c.log.Error("closing a model", "model", m.Name, "version", v.Number, "error", cerr)
		}
		return nil, err
	}
	return s, nil
}

// open calls the opener and turns a panic into an error.
func (c *Core) open(ctx context.Context, r OpenRequest) (b Backend, err error) {
	if c.opts.Open == nil {
		return nil, Errorf(Internal, "this server has no engine to load files with")
	}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("loading a model panicked", "model", r.Model, "version", r.Version, "panic", p, "stack", string(debug.Stack()))
			err = Errorf(InvalidArgument, "the file can't be loaded; the server's log says more")
		}
	}()
	return c.opts.Open(ctx, r)
}

// Unload stops serving a model: requests that began are finished.
func (c *Core) Unload(ctx context.Context, name string) error {
	if err := c.controllable(); err != nil {
		return err
	}
	if !c.gate.enter() {
		return errDraining()
	}
	defer c.gate.leave()
	defer c.lockName(name)()
	gone := c.swap(name, func([]*servable) []*servable { return nil })
	if len(gone) == 0 {
		if c.clearStates(name) { // it had failed to load: the server need not wait for it any more
			return nil
		}
		return Errorf(NotFound, "no model %q is loaded", name)
	}
	c.clearStates(name)
	for _, s := range gone {
		c.setState(IndexEntry{Name: name, Version: s.versionText, State: StateUnloading})
	}
	c.retire(gone)
	return nil
}

// unloaded notes that a version's last request is done.
func (c *Core) unloaded(s *servable) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.states[s.name][s.versionText]; e.State == StateUnloading {
		c.states[s.name][s.versionText] = IndexEntry{Name: s.name, Version: s.versionText, State: StateUnavailable, Reason: reasonUnloaded}
	}
}

// reasonUnloaded marks what is not served because someone said so.
const reasonUnloaded = "unloaded"

func (c *Core) setState(e IndexEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states[e.Name] == nil {
		c.states[e.Name] = map[string]IndexEntry{}
	}
	c.states[e.Name][e.Version] = e
}

func (c *Core) clearStates(name string) (had bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, had = c.states[name]
	delete(c.states, name)
	return had
}
