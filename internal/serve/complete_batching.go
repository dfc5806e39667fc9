package serve

import (
	"fmt"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/batch"
	"github.com/salver-ml/salver/internal/repo"
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
