package serve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/batch"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
)

// Defaults apply to models whose configuration is silent.
type Defaults struct {
	// MaxBatchSize is how many rows of different requests are put together, for
	// a model that can batch: 0 means 64, and 1 turns that off. A single request may have more.
	MaxBatchSize int
	// MaxQueueDelay is how long a request may wait for company while an
	// instance is idle.
	MaxQueueDelay time.Duration
}

const defaultMaxBatchSize = 64

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

// batchSize decides on max_batch_size where the configuration does not.
func (c *completion) batchSize(d Defaults) {
	fixed := c.fixedFirst()
	if c.cfg.MaxBatchSizeSet {
		if c.cfg.MaxBatchSize > 0 && fixed != "" {
			c.bad.addf("max_batch_size is %d, but %s has no first dimension of any size; set max_batch_size: 0", c.cfg.MaxBatchSize, fixed)
		}
		return
	}
	most := d.MaxBatchSize
	if most == 0 {
		most = defaultMaxBatchSize
	}
	if fixed == "" && c.canBatch && !c.fullRank() {
		c.cfg.MaxBatchSize = most
	}
}

// fixedFirst names a tensor without a symbolic first dimension, if there is one.
func (c *completion) fixedFirst() string {
	for _, list := range [][]TensorInfo{c.modelIn, c.modelOut} {
		for i := range list {
			if t := &list[i]; len(t.Shape) == 0 || t.Shape[0] != -1 {
				return fmt.Sprintf("%q %s", t.Name, t)
			}
		}
	}
	if len(c.modelIn) == 0 {
		return "the model, which has no inputs,"
	}
	return ""
}

// fullRank reports whether the configuration's dims have as many dimensions as the model's.
func (c *completion) fullRank() bool {
	full := func(ts []repo.Tensor, infos []TensorInfo) bool {
		return slices.ContainsFunc(ts, func(t repo.Tensor) bool {
			i := find(infos, t.Name)
			return i >= 0 && t.Reshape == nil && len(t.Dims) > 0 && len(t.Dims) == len(infos[i].Shape)
		})
	}
	return full(c.cfg.Input, c.modelIn) || full(c.cfg.Output, c.modelOut)
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

// reshape turns shapes of one pattern into another: the dimensions of any size
// (-1) of from become those of to, in order.
type reshape struct{ from, to []int }

// apply reshapes t without a copy; false if its shape is not of the pattern.
func (r *reshape) apply(t *tensor.Tensor) (*tensor.Tensor, bool) {
	if !shapeFits(r.from, t.Shape) {
		return nil, false
	}
	shape := slices.Clone(r.to)
	next := 0
	for i, d := range t.Shape {
		if r.from[i] != -1 {
			continue
		}
		for next < len(shape) && shape[next] != -1 {
			next++
		}
		if next == len(shape) {
			return nil, false
		}
		shape[next] = d
		next++
	}
	return t.Reshape(shape...), true
}

// count is a shape's number of elements as (product of the fixed dimensions, number of the others).
func count(shape []int) [2]int {
	c := [2]int{1, 0}
	for _, d := range shape {
		if d < 0 {
			c[1]++
		} else {
			c[0] *= d
		}
	}
	return c
}

func (c *completion) withBatch(dims []int) []int {
	if c.skip() == 0 {
		return slices.Clone(dims)
	}
	return append([]int{-1}, dims...)
}

// schedule completes instances and queues.
func (c *completion) schedule(d Defaults) {
	c.cfg.InstanceGroup = slices.Clone(c.cfg.InstanceGroup)
	if len(c.cfg.InstanceGroup) == 0 {
		c.cfg.InstanceGroup = []repo.InstanceGroup{{}}
	}
	for i := range c.cfg.InstanceGroup {
		g := &c.cfg.InstanceGroup[i]
		g.Count = max(g.Count, 1)
		if g.Kind == "" || g.Kind == "KIND_AUTO" {
			g.Kind = "KIND_CPU"
		}
		if g.Name == "" {
			g.Name = fmt.Sprintf("%s_%d", c.cfg.Name, i)
		}
	}
	if c.cfg.MaxBatchSize > 1 && c.cfg.DynamicBatching == nil {
		c.cfg.DynamicBatching = &repo.DynamicBatching{MaxQueueDelayMicroseconds: uint64(d.MaxQueueDelay.Microseconds())}
	}
}

// batchRows is how many rows of different requests run together, and if it is
// 1, why.
func (c *completion) batchRows() (rows int, reason string) {
	fixed := c.fixedFirst()
	switch {
	case fixed != "":
		return 1, fixed + " has no first dimension of any size"
	case !c.canBatch:
		return 1, c.whyNot
	case c.cfg.MaxBatchSize > 1:
		return c.cfg.MaxBatchSize, ""
	case c.cfg.MaxBatchSizeSet:
		return 1, fmt.Sprintf("the configuration says max_batch_size: %d", c.cfg.MaxBatchSize)
	case c.fullRank():
		return 1, "dims in the configuration have the batch dimension too"
	}
	return 1, "the server's largest batch is 1"
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

// batching is the batcher's part of the configuration; the queue bounds that
// it comes to are written back.
func (c *completion) batching() batch.Options {
	o := batch.Options{Unbatched: c.cfg.MaxBatchSize == 0, MaxRows: 1}
	for _, g := range c.cfg.InstanceGroup {
		o.Instances += g.Count
	}
	o.Instances = max(o.Instances, c.concurrent)
	d := c.cfg.DynamicBatching
	if c.canBatch && d != nil {
		o.MaxRows = max(c.cfg.MaxBatchSize, 1)
	}
	if d == nil {
		return o
	}
	full := *d
	if full.PreferredBatchSize == nil {
		full.PreferredBatchSize = []int{}
	}
	c.cfg.DynamicBatching = &full
	if o.MaxRows > 1 {
		o.Sizes = batch.Steps(o.MaxRows) // an engine plans for each size once, and keeps an arena for it
		o.Preferred = d.PreferredBatchSize
		o.MaxDelay = micros(d.MaxQueueDelayMicroseconds)
	}
	o.PreserveOrdering = d.PreserveOrdering
	o.DefaultLevel = int(d.DefaultPriorityLevel)
	base := batch.DefaultPolicy(o.MaxRows, o.Instances)
	full.DefaultQueuePolicy = queuePolicy(d.DefaultQueuePolicy, &base)
	o.Levels = slices.Repeat([]batch.Policy{base}, max(1, int(d.PriorityLevels)))
	full.PriorityQueuePolicy = nil
	for level, q := range d.PriorityQueuePolicy {
		if full.PriorityQueuePolicy == nil {
			full.PriorityQueuePolicy = map[uint64]repo.QueuePolicy{}
		}
		p := batch.DefaultPolicy(o.MaxRows, o.Instances)
		full.PriorityQueuePolicy[level] = *queuePolicy(&q, &p)
		o.Levels[level-1] = p
	}
	return o
}

func micros(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }

// queuePolicy sets p as q says, where there is a q, and returns q completed from p.
func queuePolicy(q *repo.QueuePolicy, p *batch.Policy) *repo.QueuePolicy {
	if q != nil {
		p.Timeout = micros(q.DefaultTimeoutMicroseconds)
		p.AllowOverride = q.AllowTimeoutOverride
		p.Postpone = q.TimeoutAction == repo.Delay
		if q.MaxQueueSize != nil {
			p.MaxQueue = *q.MaxQueueSize
		}
	}
	full := &repo.QueuePolicy{TimeoutAction: repo.Reject, DefaultTimeoutMicroseconds: uint64(p.Timeout.Microseconds()), AllowTimeoutOverride: p.AllowOverride, MaxQueueSize: &p.MaxQueue}
	if p.Postpone {
		full.TimeoutAction = repo.Delay
	}
	return full
}
