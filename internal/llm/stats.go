package llm

import (
	"maps"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/textgen"
)

func newStats() textgen.Stats {
	seconds := func(bounds ...float64) textgen.Histogram {
		return textgen.Histogram{Bounds: bounds, Counts: make([]uint64, len(bounds)+1)}
	}
	long := []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
	return textgen.Stats{
		Requests:   map[string]uint64{},
		FirstToken: seconds(.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60),
		EachToken:  seconds(.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .5, 1, 2.5),
		Queue:      seconds(long...), Request: seconds(long...), Prompt: seconds(long...),
	}
}

// observe adds an observation to a histogram.
func observe(h *textgen.Histogram, v float64) {
	i := 0
	for i < len(h.Bounds) && v > h.Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += v
}

// account notes what a step took: in deciding and choosing, and in all.
func (e *engine) account(scheduling, all time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := &e.stats
	s.Steps++
	s.SchedulerSeconds += scheduling.Seconds()
	s.StepSeconds += all.Seconds()
	for _, w := range e.step {
		if w.n == 1 && w.generated() > 1 {
			observe(&s.EachToken, all.Seconds())
		}
	}
	e.gauge()
}

// gauge notes the scheduler's figures; the lock is held.
func (e *engine) gauge() {
	s, k := &e.stats, e.sched.kv
	s.Running, s.Waiting = len(e.sched.running), len(e.sched.waiting)
	s.BlocksUsed, s.BlocksAll, s.BlockTokens = k.Len()-k.Free(), k.Len(), kv.BlockTokens
	s.TokensHeld = 0
	for _, q := range e.sched.running {
		s.TokensHeld += q.computed
	}
	s.PrefixQueries, s.PrefixHits, s.Preemptions = e.sched.asked, e.sched.found, e.sched.preempted
}

// snapshot is the figures of this moment.
func (e *engine) snapshot() textgen.Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Waiting += len(e.arrived)
	s.Requests = maps.Clone(s.Requests)
	for _, h := range []*textgen.Histogram{&s.FirstToken, &s.EachToken, &s.Queue, &s.Request, &s.Prompt} {
		h.Counts = slices.Clone(h.Counts)
	}
	return s
}
