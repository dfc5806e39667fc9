package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
)

// Case is one model with expected outputs.
type Case struct {
	Name     string
	Category string // of the manifest, "" if it has none
	lacks    string // why it can't be run; "" if it can
	rule     rule
	fsys     fs.FS
	model    string // path in fsys
	sets     []set
}

// set is one set of inputs and expected outputs, read when it is needed.
type set interface {
	// read gives inputs by graph position and outputs by name.
	read(fsys fs.FS, g *ir.Graph) (in []*tensor.Tensor, out map[string]*tensor.Tensor, err error)
}

// find lists the cases below the root of a source, by name.
func find(s *source) ([]*Case, error) {
	var cases []*Case
	err := fs.WalkDir(s.fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".onnx") {
			return err
		}
		c, err := s.caseOf(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if c != nil {
			cases = append(cases, c)
		}
		return nil
	})
	sort.Slice(cases, func(i, j int) bool { return cases[i].Name < cases[j].Name })
	return cases, err
}

// caseOf makes the case of a model file, or nil if nothing tells what to expect.
func (s *source) caseOf(p string) (*Case, error) {
	dir := path.Dir(p)
	if path.Base(p) == "model.onnx" {
		sets, err := fs.Glob(s.fsys, path.Join(escapeGlob(dir), "test_data_set_*"))
		if err != nil {
			return nil, err
		}
		if len(sets) > 0 {
			e := s.manifest[dir]
			c := &Case{Name: dir, Category: e.category, fsys: s.fsys, model: p, rule: rule{kind: backendRule}}
			for _, d := range sets {
				c.sets = append(c.sets, backendSet{d})
			}
			return c, nil
		}
	}
	if exists(s.fsys, p+".golden.npz") {
		e := s.manifest[p]
		return &Case{Name: p, Category: e.category, fsys: s.fsys, model: p, rule: rule{kind: goldenRule, diff: e.diff}, sets: []set{goldenSet{p + ".golden.npz"}}}, nil
	}
	if exists(s.fsys, path.Join(dir, "meta.json")) {
		return s.trained(p, dir)
	}
	if c := s.light(p); c != nil || path.Base(p) != "model.onnx" {
		return c, nil
	}
	return &Case{Name: dir, Category: s.manifest[dir].category, lacks: "it has no test_data_set_*, so nothing says what to expect"}, nil
}

func exists(fsys fs.FS, p string) bool { _, err := fs.Stat(fsys, p); return err == nil }

func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "*", `\*`, "?", `\?`).Replace(p)
}

// meta is what the meta.json beside a trained model says of its goldens.
type meta struct {
	Model string   `json:"model"`
	Ops   []string `json:"ops"`
	Cases []struct {
		File string  `json:"file"`
		Diff float64 `json:"max_abs_diff_opt_vs_noopt"`
	} `json:"cases"`
}

func (s *source) trained(p, dir string) (*Case, error) {
	b, err := fs.ReadFile(s.fsys, path.Join(dir, "meta.json"))
	if err != nil {
		return nil, err
	}
	var m meta
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("meta.json: %w", err)
	}
	if m.Model != path.Base(p) || len(m.Cases) == 0 {
		return nil, nil
	}
	c := &Case{Name: p, fsys: s.fsys, model: p, rule: rule{kind: goldenRule}}
	for _, op := range m.Ops {
		if strings.HasPrefix(op, "QLinear") || slices.Contains([]string{"QuantizeLinear", "DynamicQuantizeLinear"}, op) {
			c.rule.kind = int8Rule
		}
	}
	for _, x := range m.Cases {
		c.rule.diff = max(c.rule.diff, x.Diff)
		c.sets = append(c.sets, goldenSet{path.Join(dir, x.File)})
	}
	return c, nil
}

// backendSet is a test_data_set_N folder of the ONNX backend tests.
type backendSet struct{ dir string }

func (b backendSet) read(fsys fs.FS, g *ir.Graph) ([]*tensor.Tensor, map[string]*tensor.Tensor, error) {
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i := range in {
		v, err := readValue(fsys, path.Join(b.dir, fmt.Sprintf("input_%d.pb", i)), g.Inputs[i].Type)
		if err != nil {
			return nil, nil, err
		}
		in[i] = v
	}
	out := map[string]*tensor.Tensor{}
	for i, o := range g.Outputs {
		v, err := readValue(fsys, path.Join(b.dir, fmt.Sprintf("output_%d.pb", i)), o.Value.Type)
		if err != nil {
			return nil, nil, err
		}
		out[o.Name] = v
	}
	return in, out, nil
}

// goldenSet is an npz with arrays in_NAME and out_NAME.
type goldenSet struct{ file string }

func (s goldenSet) read(fsys fs.FS, g *ir.Graph) ([]*tensor.Tensor, map[string]*tensor.Tensor, error) {
	raw, err := fs.ReadFile(fsys, s.file)
	if err != nil {
		return nil, nil, err
	}
	a, err := npy.NewArchive(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, nil, err
	}
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if in[i], err = a.Read("in_" + v.Name); err != nil {
			return nil, nil, fmt.Errorf("input %q: %w", v.Name, err)
		}
	}
	out := map[string]*tensor.Tensor{}
	for _, o := range g.Outputs {
		if !a.Has("out_" + o.Name) {
			continue
		}
		if out[o.Name], err = a.Read("out_" + o.Name); err != nil {
			return nil, nil, fmt.Errorf("output %q: %w", o.Name, err)
		}
	}
	if len(out) == 0 && len(g.Outputs) > 0 {
		return nil, nil, fmt.Errorf("the golden has none of the model's outputs")
	}
	return in, out, nil
}
