package serve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/textgen"
)

// completion makes a configuration whole with what the model says of itself,
// and checks one against the other.
type completion struct {
	cfg        *repo.Config
	inputs     []TensorInfo // as clients see them, in the backend's order
	outputs    []TensorInfo // as clients see them, in the configuration's order
	outIndex   []int        // positions of outputs in the backend's
	inReshape  []*reshape   // from the client's shape to the model's; nil where they are the same
	outReshape []*reshape   // from the model's to the client's
	canBatch   bool
	whyNot     string // the reason if it can't
	concurrent int    // runs at once that the backend wants
	modelIn    []TensorInfo
	modelOut   []TensorInfo
	ofText     bool // it generates, embeds or compares texts
	bad        problems
}

// complete fills in a copy of cfg, which may be nil.
func complete(name string, cfg *repo.Config, b Backend, d Defaults) (*completion, error) {
	c := &completion{cfg: &repo.Config{}, modelIn: b.Inputs(), modelOut: b.Outputs()}
	if cfg != nil {
		*c.cfg = *cfg
	}
	c.cfg.Name = name
	c.canBatch, c.whyNot = b.Batchable()
	switch b.(type) {
	case textgen.Model, textgen.Embedder, textgen.Reranker:
		c.ofText = true
	}
	if own, ok := b.(Concurrent); ok {
		c.concurrent = own.Concurrent()
	}
	c.carried()
	c.batchSize(d)
	c.tensors()
	if len(c.bad) > 0 {
		return nil, Errorf(InvalidArgument, "model %q: the configuration does not fit the model: %s", name, strings.Join(c.bad, "; "))
	}
	c.schedule(d)
	c.rest()
	return c, nil
}

// carried checks that the protocols have names for the model's types.
func (c *completion) carried() {
	for _, list := range [][]TensorInfo{c.modelIn, c.modelOut} {
		for i := range list {
			if list[i].DType.OIP() == "" {
				c.bad.addf("%q has the type %s, which the Open Inference Protocol can't carry", list[i].Name, list[i].DType)
			}
		}
	}
}

// tensors matches the configuration's inputs and outputs with the model's.
func (c *completion) tensors() {
	c.inputs = slices.Clone(c.modelIn)
	c.inReshape = make([]*reshape, len(c.modelIn))
	c.cfg.Input = slices.Clone(c.cfg.Input)
	for i := range c.cfg.Input {
		t := &c.cfg.Input[i]
		j := find(c.modelIn, t.Name)
		if j < 0 {
			c.bad.addf("input %q is unknown; the model's inputs are %s", t.Name, names(c.modelIn))
			continue
		}
		c.inputs[j].Shape, c.inReshape[j] = c.match("input", t, &c.modelIn[j])
		if t.Optional && !c.modelIn[j].Optional {
			c.bad.addf("input %q is optional in the configuration, but the model needs it", t.Name)
		}
		t.Optional = c.modelIn[j].Optional
	}
	for i := range c.modelIn {
		if !slices.ContainsFunc(c.cfg.Input, func(t repo.Tensor) bool { return t.Name == c.modelIn[i].Name }) {
			c.cfg.Input = append(c.cfg.Input, c.describe(&c.modelIn[i]))
		}
	}
	c.cfg.Output = slices.Clone(c.cfg.Output)
	if len(c.cfg.Output) == 0 {
		for i := range c.modelOut {
			c.cfg.Output = append(c.cfg.Output, c.describe(&c.modelOut[i]))
		}
	}
	for i := range c.cfg.Output {
		t := &c.cfg.Output[i]
		j := find(c.modelOut, t.Name)
		if j < 0 {
			c.bad.addf("output %q is unknown; the model's outputs are %s", t.Name, names(c.modelOut))
			continue
		}
		info := c.modelOut[j]
		var r *reshape
		if info.Shape, r = c.match("output", t, &c.modelOut[j]); r != nil {
			r.from, r.to = r.to, r.from
		}
		c.outputs, c.outIndex, c.outReshape = append(c.outputs, info), append(c.outIndex, j), append(c.outReshape, r)
	}
}

// describe makes the configuration's entry for a tensor of the model.
func (c *completion) describe(t *TensorInfo) repo.Tensor {
	return repo.Tensor{Name: t.Name, DataType: repo.DataType(t.DType), Dims: slices.Clone(t.Shape[min(c.skip(), len(t.Shape)):]), Optional: t.Optional}
}

// skip is how many of the model's dimensions dims leave out.
func (c *completion) skip() int { return min(c.cfg.MaxBatchSize, 1) }

// match compares a configured tensor with the model's, completes it, and
// returns the shape that clients see and, if it has one, the reshape from there to the model's.
func (c *completion) match(what string, t *repo.Tensor, m *TensorInfo) (client []int, r *reshape) {
	if t.DataType == 0 {
		t.DataType = repo.DataType(m.DType)
	} else if dtype.Type(t.DataType) != m.DType {
		c.bad.addf("%s %q: data_type is %s, but the model has %s", what, t.Name, t.DataType, repo.DataType(m.DType))
	}
	want := m.Shape
	if len(want) > 0 {
		want = want[c.skip():]
	}
	switch {
	case t.Reshape != nil:
		if !dimsFit(want, t.Reshape.Shape) {
			c.bad.addf("%s %q: reshape is %s, but the model has %s", what, t.Name, shapeText(t.Reshape.Shape), c.modelShape(m))
		}
		if count(t.Dims) != count(t.Reshape.Shape) {
			c.bad.addf("%s %q: dims %s can't be reshaped to %s", what, t.Name, shapeText(t.Dims), shapeText(t.Reshape.Shape))
		}
		client = append([]int{}, c.withBatch(t.Dims)...) // a scalar, if there are none, and not of any rank
		return client, &reshape{client, c.withBatch(t.Reshape.Shape)}
	case len(t.Dims) == 0:
		t.Dims = slices.Clone(want)
	case !dimsFit(want, t.Dims):
		c.bad.addf("%s %q: dims are %s, but the model has %s", what, t.Name, shapeText(t.Dims), c.modelShape(m))
	}
	return c.withBatch(t.Dims), nil
}

// modelShape words a model's shape so that it can be compared with dims.
func (c *completion) modelShape(m *TensorInfo) string {
	if c.skip() == 0 || len(m.Shape) == 0 {
		return shapeText(m.Shape)
	}
	return fmt.Sprintf("%s after the batch dimension", shapeText(m.Shape[1:]))
}

// dimsFit reports whether a configuration's dims say the same as the model's or narrow them.
func dimsFit(model, dims []int) bool {
	if model == nil { // of any rank
		return true
	}
	if len(model) != len(dims) {
		return false
	}
	for i, d := range dims {
		if model[i] != -1 && model[i] != d {
			return false
		}
	}
	return true
}

func (c *completion) withBatch(dims []int) []int {
	if c.skip() == 0 {
		return slices.Clone(dims)
	}
	return append([]int{-1}, dims...)
}

// rest completes what is only to be told, so that clients find lists and not nulls in the JSON.
func (c *completion) rest() {
	cfg := c.cfg
	platform, backend := "onnxruntime_onnx", "onnxruntime" // which clients know for ONNX
	if c.ofText {
		platform, backend = "salver_text", "salver"
	}
	cfg.Platform, cfg.Backend = cmp.Or(cfg.Platform, platform), cmp.Or(cfg.Backend, backend)
	if cfg.VersionPolicy == (repo.VersionPolicy{}) {
		cfg.VersionPolicy.Latest = &repo.Latest{NumVersions: 1}
	}
	if cfg.Parameters == nil {
		cfg.Parameters = map[string]repo.Parameter{}
	}
	if cfg.ModelWarmup == nil {
		cfg.ModelWarmup = []repo.Warmup{}
	}
	for _, list := range [][]repo.Tensor{cfg.Input, cfg.Output} {
		for i := range list {
			if list[i].Dims == nil {
				list[i].Dims = []int{}
			}
		}
	}
}
