package tune

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/salver-ml/salver/internal/format/whole"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

// Choices are options by the choice's name.
type Choices map[string]string

// Layer is what was found for layers of one signature.
type Layer struct {
	Layer     string  `json:"layer"`   // as Signature has it
	Threads   int     `json:"threads"` // of one inference
	Choices   Choices `json:"choices"`
	Micros    float64 `json:"us,omitempty"`         // time of a run with them
	DefaultUS float64 `json:"default_us,omitempty"` // time without
}

// Model is the choices of one model that change its arithmetic.
type Model struct {
	Model  string  `json:"model"` // Fingerprint of the optimized graph
	Name   string  `json:"name"`  // of the file, for people
	Layers []Exact `json:"layers"`
}

// Exact is choices for a layer of one model, whatever the batch and the threads.
type Exact struct {
	Layer   string  `json:"layer"`
	Choices Choices `json:"choices"`
}

// file is the cache as it is written.
type file struct {
	Format string `json:"format"`
	Host
	Layers []Layer `json:"layers"`
	Models []Model `json:"models"`
}

// format is the first field of a cache.
const format = "salver tuning 1"

// maxFile bounds a cache's bytes, maxName those of a name in it.
const (
	maxFile = 64 << 20
	maxName = 64 << 10
)

// layerKey finds a layer.
type layerKey struct {
	layer   string
	threads int
}

// Cache is the choices that were measured on one host. It is not changed while
// models are compiled.
type Cache struct {
	Host   Host
	layers map[layerKey]*Layer
	models map[string]*Model
}

// NewCache is an empty cache for a host.
func NewCache(h Host) *Cache {
	return &Cache{Host: h, layers: map[layerKey]*Layer{}, models: map[string]*Model{}}
}

// OtherHostError is a cache that was not measured on this host.
type OtherHostError struct{ Path, Reason string }

func (e *OtherHostError) Error() string {
	return fmt.Sprintf("%s: %s; run salver tune again", e.Path, e.Reason)
}

// Load reads the cache of a host from a file. That of another host is an
// *OtherHostError; a file that is not there is an fs.ErrNotExist.
func Load(path string, h Host) (*Cache, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	c, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if reason := h.differs(c.Host); reason != "" {
		return nil, &OtherHostError{path, reason}
	}
	return c, nil
}

// LoadOrNew is Load that gives an empty cache where the file is not there or is
// another host's.
func LoadOrNew(path string, h Host) (*Cache, error) {
	c, err := Load(path, h)
	if other := (*OtherHostError)(nil); errors.Is(err, fs.ErrNotExist) || errors.As(err, &other) {
		return NewCache(h), nil
	}
	return c, err
}

// Parse reads a cache strictly: fields that it doesn't know, layers that occur
// twice and the like are errors.
func Parse(b []byte) (*Cache, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("more than %d bytes, a cache has fewer", maxFile)
	}
	var f file
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("not a tuning cache: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the cache's closing brace")
	}
	if f.Format != format {
		return nil, fmt.Errorf("format is %q, expected %q", f.Format, format)
	}
	c := NewCache(f.Host)
	for i := range f.Layers {
		if err := c.addLayer(&f.Layers[i]); err != nil {
			return nil, fmt.Errorf("layers[%d]: %w", i, err)
		}
	}
	for i := range f.Models {
		if err := c.addModel(&f.Models[i]); err != nil {
			return nil, fmt.Errorf("models[%d]: %w", i, err)
		}
	}
	return c, nil
}

func (c *Cache) addLayer(l *Layer) error {
	if l.Threads < 1 {
		return fmt.Errorf("threads is %d, expected at least 1", l.Threads)
	}
	if !(l.Micros >= 0 && l.DefaultUS >= 0) {
		return fmt.Errorf("us is %v and default_us %v, expected no negative time", l.Micros, l.DefaultUS)
	}
	if err := checkChoices(l.Layer, l.Choices); err != nil {
		return err
	}
	k := layerKey{l.Layer, l.Threads}
	if c.layers[k] != nil {
		return fmt.Errorf("layer %.200q with %d threads occurs twice", l.Layer, l.Threads)
	}
	c.layers[k] = l
	return nil
}

func (c *Cache) addModel(m *Model) error {
	if m.Model == "" || len(m.Model) > maxName || len(m.Name) > maxName {
		return fmt.Errorf("model is %.200q with the name %.200q, expected 1 to %d bytes", m.Model, m.Name, maxName)
	}
	if c.models[m.Model] != nil {
		return fmt.Errorf("model %.200q occurs twice", m.Model)
	}
	seen := map[string]bool{}
	for i, l := range m.Layers {
		if err := checkChoices(l.Layer, l.Choices); err != nil {
			return fmt.Errorf("layers[%d]: %w", i, err)
		}
		if seen[l.Layer] {
			return fmt.Errorf("layers[%d]: layer %.200q occurs twice", i, l.Layer)
		}
		seen[l.Layer] = true
	}
	c.models[m.Model] = m
	return nil
}

func checkChoices(layer string, choices Choices) error {
	if layer == "" || len(layer) > maxName {
		return fmt.Errorf("layer has %d bytes, expected 1 to %d", len(layer), maxName)
	}
	for name, option := range choices {
		if name == "" || option == "" || len(name)+len(option) > maxName {
			return fmt.Errorf("layer %.200q: choice %.200q is %.200q, expected names of 1 to %d bytes", layer, name, option, maxName)
		}
	}
	return nil
}

// Bytes writes the cache; the same cache gives the same bytes.
func (c *Cache) Bytes() ([]byte, error) {
	f := file{Format: format, Host: c.Host, Layers: []Layer{}, Models: []Model{}}
	for _, l := range c.layers {
		f.Layers = append(f.Layers, *l)
	}
	sort.Slice(f.Layers, func(i, j int) bool {
		a, b := &f.Layers[i], &f.Layers[j]
		if a.Layer != b.Layer {
			return a.Layer < b.Layer
		}
		return a.Threads < b.Threads
	})
	for _, m := range c.models {
		f.Models = append(f.Models, *m)
	}
	sort.Slice(f.Models, func(i, j int) bool { return f.Models[i].Model < f.Models[j].Model })
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(f)
	return out.Bytes(), err
}

// Save writes the cache to a file, all of it or nothing, and makes its folder.
func (c *Cache) Save(path string) error {
	b, err := c.Bytes()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return whole.Write(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Layers counts the layers.
func (c *Cache) Layers() int { return len(c.layers) }

// Models counts the models whose arithmetic is chosen.
func (c *Cache) Models() int { return len(c.models) }

// For gives the choices for an optimized graph; nil for a nil or empty cache.
func (c *Cache) For(g *ir.Graph) op.Chooser {
	if c == nil || len(c.layers)+len(c.models) == 0 {
		return nil
	}
	r := &reader{cache: c}
	if len(c.models) > 0 {
		r.exact = c.exact(Fingerprint(g))
	}
	return r
}

// exact gives a model's choices of the arithmetic by layer.
func (c *Cache) exact(model string) map[string]Choices {
	m := c.models[model]
	if m == nil {
		return nil
	}
	by := make(map[string]Choices, len(m.Layers))
	for _, l := range m.Layers {
		by[l.Layer] = l.Choices
	}
	return by
}

// reader takes choices from a cache for one model.
type reader struct {
	cache *Cache
	exact map[string]Choices
}

// Choose gives what the cache says, "" where it says nothing.
func (r *reader) Choose(p *op.Prep, c op.Choice) string {
	if c.Arithmetic {
		return r.exact[Signature(p, true)][c.Name]
	}
	if l := r.cache.layers[layerKey{Signature(p, false), p.Threads}]; l != nil {
		return l.Choices[c.Name]
	}
	return ""
}
