package cli

import (
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/serve"
)

// What of the memory that the process may use goes where, by default: the rest
// is for the program, its stacks, and what the system keeps of files.
const (
	runsShare   = 0.7   // --max-memory: a model, its intermediate values, inputs and outputs
	bodiesShare = 0.125 // --max-body-memory
	heapShare   = 0.25  // the Go heap, where bodies are, with its garbage
)

// memoryShares says how serve divides the memory, in bytes; 0 is no limit.
type memoryShares struct {
	total              int64
	of                 string // whose memory it is
	runs, bodies, heap int64
	given              bool // --max-memory was given
}

// shareMemory divides what --max-memory gives or else the process may use.
func (f *serveFlags) shareMemory() memoryShares {
	m := memoryShares{given: f.maxMemory > 0}
	if m.total, m.of = int64(f.maxMemory), "--max-memory"; !m.given {
		m.total, m.of = cpu.Memory()
		m.runs, m.heap = int64(runsShare*float64(m.total)), int64(heapShare*float64(m.total))
	} else {
		m.runs = m.total
	}
	if m.bodies = int64(f.maxBodyMemory); m.bodies == 0 && m.total > 0 {
		m.bodies = max(int64(bodiesShare*float64(m.total)), int64(f.maxBody))
	}
	if m.heap > 0 {
		m.heap = max(m.heap, 2*m.bodies)
	}
	return m
}

// requestsGarbage is the collector's GOGC while serving. Weights and arenas are
// outside its heap; what is left are requests, a few MiB alive, so that at 100
// it would run dozens of times a second, and each time delay some of them. A language
// model has its vocabulary and plans there, tens of MiB: then 100 is seldom enough, and
// garbage five times that size is too much.
const requestsGarbage = 400

// boundRuns bounds the engine's runs; options has done so for --max-memory.
func (s *server) boundRuns() {
	if m := &s.memory; !m.given && m.runs > 0 {
		s.engine.MaxMemory, s.engine.Overhead = int(m.runs), int(memoryStatus("VmRSS"))
	}
}

// tuneCollector sets the collector for serving, when models are loaded: until
// then their constants may fill its heap, and what they keep there adds to the
// limit. GOGC, GOMEMLIMIT and --max-memory say how it should be instead.
func (s *server) tuneCollector() {
	if s.memory.given {
		return
	}
	generates := func(e serve.TextEntry) bool { return e.Generates }
	if os.Getenv("GOGC") == "" && !slices.ContainsFunc(s.core.TextModels(), generates) {
		debug.SetGCPercent(requestsGarbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" && s.memory.heap > 0 {
		debug.SetMemoryLimit(s.memory.heap + liveHeap())
	}
}

// liveHeap is what the heap held after its last collection, in bytes.
func liveHeap() int64 {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	return int64(live[0].Value.Uint64())
}

// String tells the limits.
func (m memoryShares) String() string {
	if m.total == 0 {
		return "no limit"
	}
	return fmt.Sprintf("up to %s for a run, %s for requests and answers (%s: %s)", about(m.runs), about(m.bodies), m.of, about(m.total))
}
