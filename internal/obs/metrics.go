// Package obs shows what the server does: Prometheus metrics and the log.
//
// The hot path counts in the core's own atomics; this package turns them into
// metrics when they are asked for. The table below is the source of
// docs/METRICS.md.
package obs

import (
	"maps"
	"runtime"
	"slices"

	"github.com/salver-ml/salver/internal/auth"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/serve"
)

// Sources are what metrics are read from.
type Sources struct {
	Core     *serve.Core
	Keys     *auth.Keys      // may be nil
	InFlight *limit.InFlight // may be nil
	Version  string          // of this program
	ISA      string          // instruction set of the kernels
}

// metric describes a family.
type metric struct {
	name   string
	kind   string // counter, gauge or histogram
	labels []string
	help   string
}

var families []*metric

// family makes a family, of which there are many: hence one copy of its code.
//
//go:noinline
func family(kind, name, help string, labels ...string) *metric {
	m := &metric{name, kind, labels, help}
	families = append(families, m)
	return m
}

var (
	buildInfo  = family("gauge", "salver_build_info", "Always 1; the labels say what runs.", "version", "go_version", "isa")
	ready      = family("gauge", "salver_ready", "1 if the server is ready: the loading at start has ended and it is not shutting down.")
	modelState = family("gauge", "salver_model_ready", "1 if the model version takes requests, 0 if it is loading, unloading or failed.", "model", "version")
	memory     = family("gauge", "salver_model_memory_bytes", "Bytes that the loaded model holds: weights, packed weights and arena.", "model", "version")

	requests  = family("histogram", "salver_request_duration_seconds", "Time from the acceptance of a request to its outputs being ready, of successful requests.", "model", "version", "protocol")
	queued    = family("histogram", "salver_queue_duration_seconds", "Time that successful requests waited before their execution.", "model", "version")
	computed  = family("histogram", "salver_compute_duration_seconds", "Time of the execution that a successful request was part of, with gathering and splitting the batch.", "model", "version")
	batches   = family("histogram", "salver_batch_size", "Rows per execution; 1 for models that do not batch.", "model", "version")
	inFlight  = family("gauge", "salver_requests_in_flight", "Requests that are accepted and whose outputs are not yet released.", "model", "version")
	waiting   = family("gauge", "salver_requests_waiting", "Requests in the queue, a part of those in flight.", "model", "version")
	refused   = family("counter", "salver_requests_refused_total", "Requests that reached no model: unknown or unready model, shutdown, too many or too large ones in flight, no valid API key.", "reason")
	serverNow = family("gauge", "salver_server_requests_in_flight", "Requests that the transports are answering, which can be bounded.")
	bodyBytes = family("gauge", "salver_server_body_bytes", "Bytes that requests and answers above 64 KiB hold, which are bounded.")

	nvSuccess = family("counter", "nv_inference_request_success", "Successful requests.", "model", "version")
	nvFailure = family("counter", "nv_inference_request_failure", "Failed requests: REJECTED by a full queue, CANCELED by the client or its deadline, BACKEND for a failed execution, OTHER for a request that does not fit the model.", "model", "version", "reason")
	nvCount   = family("counter", "nv_inference_count", "Rows of successful requests.", "model", "version")
	nvExec    = family("counter", "nv_inference_exec_count", "Successful executions; nv_inference_count divided by it is the mean batch size.", "model", "version")
	nvPending = family("gauge", "nv_inference_pending_request_count", "Requests in the queue.", "model", "version")
	nvRequest = family("counter", "nv_inference_request_duration_us", "Microseconds of successful requests, all together.", "model", "version")
	nvQueue   = family("counter", "nv_inference_queue_duration_us", "Microseconds that requests waited.", "model", "version")
	nvInput   = family("counter", "nv_inference_compute_input_duration_us", "Microseconds of gathering inputs into a batch.", "model", "version")
	nvInfer   = family("counter", "nv_inference_compute_infer_duration_us", "Microseconds of running the model.", "model", "version")
	nvOutput  = family("counter", "nv_inference_compute_output_duration_us", "Microseconds of splitting a batch's outputs.", "model", "version")
)

// collect reads all counters.
func (s *Sources) collect() exposition {
	o := exposition{}
	o.send(buildInfo, 1, s.Version, runtime.Version(), s.ISA)
	o.send(ready, truth(s.Core.Ready()))
	for _, e := range s.Core.States() {
		if e.Version != "" {
			o.send(modelState, truth(e.State == serve.StateReady), e.Name, e.Version)
		}
	}
	for _, m := range s.Core.Metrics() {
		o.model(&m)
		if m.Text != nil {
			o.text(m.Name, m.Version, m.Text)
		}
	}
	s.refusals(o)
	if s.InFlight != nil {
		o.send(serverNow, float64(s.InFlight.Now()))
		o.send(bodyBytes, float64(s.InFlight.Bytes()))
	}
	return o
}

func (s *Sources) refusals(o exposition) {
	byLabel := map[string]uint64{"unauthorized": s.Keys.Refused()}
	if s.InFlight != nil {
		byLabel["too_many_in_flight"] = s.InFlight.Refused()
		byLabel["too_many_bytes"] = s.InFlight.RefusedForBytes()
	}
	for kind, n := range s.Core.Refused() {
		byLabel[label(kind)] += n
	}
	for _, l := range slices.Sorted(maps.Keys(byLabel)) {
		o.send(refused, float64(byLabel[l]), l)
	}
}

// label is a kind as a label's value.
func label(k serve.Kind) string {
	switch k {
	case serve.NotFound:
		return "not_found"
	case serve.Unavailable:
		return "unavailable"
	}
	return "other"
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// model sends a model version's metrics.
func (o exposition) model(m *serve.ModelMetrics) {
	l := []string{m.Name, m.Version}
	for _, p := range slices.Sorted(maps.Keys(m.Requests)) {
		o.histogram(requests, m.Requests[p], m.Name, m.Version, p)
	}
	o.histogram(queued, m.Queued, l...)
	o.histogram(computed, m.Computed, l...)
	o.histogram(batches, m.Batches, l...)
	o.send(inFlight, float64(m.InFlight), l...)
	o.send(waiting, float64(m.Waiting), l...)
	for _, u := range m.MemoryUsage {
		o.send(memory, float64(u.ByteSize), l...)
	}
	o.send(nvPending, float64(m.Waiting), l...)
	o.send(nvSuccess, float64(m.Inference.Success.Count), l...)
	for _, reason := range slices.Sorted(maps.Keys(m.Failures)) {
		o.send(nvFailure, float64(m.Failures[reason]), m.Name, m.Version, reason.String())
	}
	o.send(nvCount, float64(m.InferenceCount), l...)
	o.send(nvExec, float64(m.ExecutionCount), l...)
	for _, d := range []struct {
		m *metric
		s serve.DurationStat
	}{{nvRequest, m.Inference.Success}, {nvQueue, m.Inference.Queue}, {nvInput, m.Inference.ComputeInput}, {nvInfer, m.Inference.ComputeInfer}, {nvOutput, m.Inference.ComputeOutput}} {
		o.send(d.m, float64(d.s.NS/1000), l...)
	}
}
