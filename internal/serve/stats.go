package serve

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/salver-ml/salver/internal/batch"
	"github.com/salver-ml/salver/internal/textgen"
)

// total is a DurationStat that is added to from several goroutines.
type total struct{ count, ns atomic.Uint64 }

func (t *total) add(d time.Duration) {
	t.count.Add(1)
	t.ns.Add(uint64(max(d, 0)))
}

func (t *total) stat() DurationStat { return DurationStat{t.count.Load(), t.ns.Load()} }

// FailureReason says why requests failed, as Triton's metrics do.
type FailureReason uint8

// The reasons: refused by a queue or while not ready, canceled or too late,
// failed in the model, and all else, such as a request that does not fit the model.
const (
	Rejected FailureReason = iota
	CanceledByClient
	BackendFailed
	OtherFailure
	reasons
)

// String is the value of the metrics' label.
func (r FailureReason) String() string {
	return [...]string{"REJECTED", "CANCELED", "BACKEND", "OTHER"}[r]
}

func reasonOf(k Kind) FailureReason {
	switch k {
	case Unavailable, ResourceExhausted:
		return Rejected
	case DeadlineExceeded, Canceled:
		return CanceledByClient
	case Internal:
		return BackendFailed
	}
	return OtherFailure
}

// stats are the counters of one servable.
type stats struct {
	success, fail, queue, input, infer, output total

	rows       atomic.Uint64
	executions atomic.Uint64
	last       atomic.Int64 // nanoseconds since the epoch
	failures   [reasons]atomic.Uint64

	queued, computed, batches *histogram
	byProtocol                sync.Map // string → *histogram of whole requests

	mu     sync.Mutex
	bySize map[int]*sizeStats
}

type sizeStats struct{ input, infer, output DurationStat }

func newStats() *stats {
	return &stats{queued: newDurations(), computed: newDurations(), batches: newRows(), bySize: map[int]*sizeStats{}}
}

// succeeded records an answered request; execution is told of the batch that it was in.
func (s *stats) succeeded(start time.Time, protocol string, t *batch.Timing, rows int) {
	now := time.Now()
	s.success.add(now.Sub(start))
	s.queue.add(t.Queue)
	s.input.add(t.Gather)
	s.infer.add(t.Infer)
	s.output.add(t.Split)
	s.rows.Add(uint64(rows))
	s.last.Store(now.UnixNano())
	s.queued.observe(t.Queue)
	s.computed.observe(t.Gather + t.Infer + t.Split)
	s.protocol(protocol).observe(now.Sub(start))
}

func (s *stats) failed(start time.Time, k Kind) {
	s.fail.add(time.Since(start))
	s.failures[reasonOf(k)].Add(1)
}

func (s *stats) protocol(name string) *histogram {
	if h, ok := s.byProtocol.Load(name); ok {
		return h.(*histogram)
	}
	h, _ := s.byProtocol.LoadOrStore(name, newDurations())
	return h.(*histogram)
}

// execution records a successful execution.
func (s *stats) execution(x batch.Execution) {
	s.executions.Add(1)
	s.batches.observeRows(x.Rows)
	s.mu.Lock()
	defer s.mu.Unlock()
	z := s.bySize[x.Rows]
	if z == nil {
		if len(s.bySize) >= maxSizes {
			return // a client that varies its batch sizes can't fill the memory
		}
		z = &sizeStats{}
		s.bySize[x.Rows] = z
	}
	z.input.add(x.Gather)
	z.infer.add(x.Infer)
	z.output.add(x.Split)
}

// maxSizes bounds the batch sizes that statistics are kept for.
const maxSizes = 1024

func (d *DurationStat) add(t time.Duration) {
	d.Count++
	d.NS += uint64(max(t, 0))
}

func (s *servable) statistics() ModelStatistics {
	t := s.stats
	m := ModelStatistics{
		Name: s.name, Version: s.versionText,
		LastInference:  uint64(t.last.Load() / 1e6),
		InferenceCount: t.rows.Load(), ExecutionCount: t.executions.Load(),
		Inference: InferenceStats{Success: t.success.stat(), Fail: t.fail.stat(), Queue: t.queue.stat(),
			ComputeInput: t.input.stat(), ComputeInfer: t.infer.stat(), ComputeOutput: t.output.stat()},
		ResponseStats: map[string]any{},
		Batch:         []BatchStats{},
		MemoryUsage:   []MemoryUsage{{Type: "CPU", ByteSize: uint64(s.backend.MemoryBytes())}},
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(t.bySize)) {
		z := t.bySize[n]
		m.Batch = append(m.Batch, BatchStats{BatchSize: uint64(n), ComputeInput: z.input, ComputeInfer: z.infer, ComputeOutput: z.output})
	}
	if text := s.textStats(); text != nil {
		m.generated(text, t)
	}
	return m
}

// ModelMetrics is what metrics are made of, for one model version.
type ModelMetrics struct {
	ModelStatistics
	Failures     map[FailureReason]uint64
	Requests     map[string]HistogramSnapshot // seconds of whole requests, by protocol
	Queued       HistogramSnapshot            // seconds in the queue
	Computed     HistogramSnapshot            // seconds of gathering, running and splitting
	Batches      HistogramSnapshot            // rows per execution
	Waiting      int                          // requests in the queue now
	InFlight     int                          // requests accepted and not answered, among them those that wait
	MaxBatchSize int
	Text         *textgen.Stats // of a language model; nil for others
}

// Metrics reads the counters of all models that are served, by name and version.
func (c *Core) Metrics() []ModelMetrics {
	models := *c.models.Load()
	var all []ModelMetrics
	for _, name := range slices.Sorted(maps.Keys(models)) {
		for _, s := range models[name].versions {
			all = append(all, s.metrics())
		}
	}
	return all
}

func (s *servable) metrics() ModelMetrics {
	t := s.stats
	m := ModelMetrics{ModelStatistics: s.statistics(), Failures: map[FailureReason]uint64{}, Requests: map[string]HistogramSnapshot{},
		Queued: t.queued.snapshot(), Computed: t.computed.snapshot(), Batches: t.batches.snapshot(),
		Waiting: s.batcher.Waiting(), InFlight: int(s.gate.inside()), MaxBatchSize: s.config.MaxBatchSize, Text: s.textStats()}
	for r := range reasons {
		m.Failures[r] = t.failures[r].Load()
	}
	if m.Text != nil {
		m.Failures[CanceledByClient], m.Failures[BackendFailed] = m.Text.Requests["abort"], m.Text.Requests["error"]
	}
	t.byProtocol.Range(func(k, v any) bool {
		m.Requests[k.(string)] = v.(*histogram).snapshot()
		return true
	})
	return m
}

// Refused counts requests that no model's statistics have: for models that are
// not there or not ready, and while the server shuts down.
func (c *Core) Refused() map[Kind]uint64 {
	m := map[Kind]uint64{}
	for k := range c.refused {
		if n := c.refused[k].Load(); n > 0 {
			m[Kind(k)] = n
		}
	}
	return m
}
