package serve

import (
	"context"
	"maps"
	"slices"
)

// Index lists every model version that the server knows; readyOnly leaves out
// those that do not take requests.
func (c *Core) Index(readyOnly bool) []IndexEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []IndexEntry{}
	models := *c.models.Load()
	for _, name := range slices.Sorted(maps.Keys(models)) {
		for _, s := range models[name].versions {
			list = append(list, IndexEntry{Name: name, Version: s.versionText, State: StateReady})
		}
	}
	return list
}

// LoadAll loads what Options say should be served at the start.
func (c *Core) LoadAll(ctx context.Context) error { return nil }

// Load loads or reloads a model of the repositories by name.
func (c *Core) Load(ctx context.Context, name string) error {
	return Errorf(NotFound, "no repository has a model %q", name)
}

// Unload stops serving a model: requests that began are finished.
func (c *Core) Unload(ctx context.Context, name string) error {
	return Errorf(NotFound, "no model is called %q", name)
}
