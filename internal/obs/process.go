package obs

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// processFamilies are those of the runtime and the process, under the names
// that Prometheus' client for Go gives them.
var processFamilies []*metric

// processFamily is family for these.
//
//go:noinline
func processFamily(kind, name, help string, labels ...string) *metric {
	m := &metric{name, kind, labels, help}
	processFamilies = append(processFamilies, m)
	return m
}

var (
	goInfo   = processFamily("gauge", "go_info", "Always 1; the label says which Go made the program.", "version")
	gcPauses = processFamily("summary", "go_gc_duration_seconds", "Pauses of garbage collections.", "quantile")

	cpuSeconds  = processFamily("counter", "process_cpu_seconds_total", "User and system time of the process.")
	startTime   = processFamily("gauge", "process_start_time_seconds", "Start of the process, in seconds of the epoch.")
	residentMem = processFamily("gauge", "process_resident_memory_bytes", "Memory of the process that is resident.")
	virtualMem  = processFamily("gauge", "process_virtual_memory_bytes", "Address space of the process.")
	openFiles   = processFamily("gauge", "process_open_fds", "Files and connections that are open.")
	mostFiles   = processFamily("gauge", "process_max_fds", "Files and connections that may be open.")
)

// fromRuntime are the families that are one number, or the sum of several, of package runtime/metrics.
var fromRuntime = []struct {
	family *metric
	keys   []string
}{
	{processFamily("gauge", "go_goroutines", "Goroutines."), []string{"/sched/goroutines:goroutines"}},
	{processFamily("gauge", "go_threads", "Threads of the operating system."), []string{"/sched/threads/total:threads"}},
	{processFamily("gauge", "go_sched_gomaxprocs_threads", "Threads that run Go code at once (GOMAXPROCS)."), []string{"/sched/gomaxprocs:threads"}},
	{processFamily("gauge", "go_gc_gogc_percent", "Growth of the heap until the next collection (GOGC)."), []string{"/gc/gogc:percent"}},
	{processFamily("gauge", "go_gc_gomemlimit_bytes", "Memory limit of the runtime (GOMEMLIMIT)."), []string{"/gc/gomemlimit:bytes"}},
	{processFamily("gauge", "go_memstats_alloc_bytes", "Heap bytes in use."), []string{"/memory/classes/heap/objects:bytes"}},
	{processFamily("counter", "go_memstats_alloc_bytes_total", "Heap bytes ever allocated."), []string{"/gc/heap/allocs:bytes"}},
	{processFamily("counter", "go_memstats_mallocs_total", "Heap objects ever allocated."), []string{"/gc/heap/allocs:objects"}},
	{processFamily("counter", "go_memstats_frees_total", "Heap objects ever freed."), []string{"/gc/heap/frees:objects"}},
	{processFamily("gauge", "go_memstats_heap_objects", "Heap objects."), []string{"/gc/heap/objects:objects"}},
	{processFamily("gauge", "go_memstats_heap_inuse_bytes", "Bytes of heap spans in use."), []string{"/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"}},
	{processFamily("gauge", "go_memstats_heap_idle_bytes", "Bytes of heap spans without use."), []string{"/memory/classes/heap/free:bytes", "/memory/classes/heap/released:bytes"}},
	{processFamily("gauge", "go_memstats_heap_released_bytes", "Heap bytes given back to the system."), []string{"/memory/classes/heap/released:bytes"}},
	{processFamily("gauge", "go_memstats_stack_inuse_bytes", "Bytes of stacks."), []string{"/memory/classes/heap/stacks:bytes"}},
	{processFamily("gauge", "go_memstats_next_gc_bytes", "Heap size of the next collection."), []string{"/gc/heap/goal:bytes"}},
	{processFamily("gauge", "go_memstats_sys_bytes", "Bytes that the runtime has from the system."), []string{"/memory/classes/total:bytes"}},
}

// process adds the samples of the runtime and the process.
func (o exposition) process() {
	o.send(goInfo, 1, runtime.Version())
	for _, f := range fromRuntime {
		if v, ok := runtimeSum(f.keys); ok {
			o.send(f.family, v)
		}
	}
	o.pauses()
	o.system()
}

// runtimeSum is false where the runtime has not all of the numbers.
func runtimeSum(keys []string) (sum float64, ok bool) {
	samples := make([]metrics.Sample, len(keys))
	for i, k := range keys {
		samples[i].Name = k
	}
	metrics.Read(samples)
	for _, s := range samples {
		if s.Value.Kind() != metrics.KindUint64 {
			return 0, false
		}
		sum += float64(s.Value.Uint64())
	}
	return sum, true
}

func (o exposition) pauses() {
	stats := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&stats)
	for i, q := range []string{"0", "0.25", "0.5", "0.75", "1"} {
		o.send(gcPauses, stats.PauseQuantiles[i].Seconds(), q)
	}
	o.line(gcPauses, "_sum", nil, stats.PauseTotal.Seconds())
	o.line(gcPauses, "_count", nil, float64(stats.NumGC))
}
