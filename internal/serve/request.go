package serve

import (
	"time"

	"github.com/salver-ml/salver/internal/batch"
	"github.com/salver-ml/salver/internal/tensor"
)

// NamedTensor is an input or output with its name.
type NamedTensor struct {
	Name   string
	Tensor *tensor.Tensor
}

// Request is one inference.
type Request struct {
	Model   string
	Version string // "" is the highest version that is ready
	ID      string // the client's, returned in the response
	Inputs  []NamedTensor
	Outputs []string // the outputs wanted; none named means all

	// Priority and Timeout are Triton's schedule policy: 1 is the highest
	// level and 0 the model's default; Timeout bounds the time in the queue and
	// may only shorten the model's own, where its policy allows that.
	Priority uint64
	Timeout  time.Duration

	Protocol string // "http", "grpc" …: a label of the metrics
}

// Response is the answer. Release gives its memory back.
type Response struct {
	Model   string
	Version string
	ID      string
	Outputs []NamedTensor
	Timing  Timing

	servable *servable
	call     *batch.Call
	inputs   []*tensor.Tensor  // in the backend's order
	wanted   []int             // positions of the outputs asked for; nil means all
	inBuf    [4]*tensor.Tensor // backing of inputs and Outputs, for the usual model
	outBuf   [2]NamedTensor
}

// Timing says where the time of a request went.
type Timing struct {
	Queue   time.Duration // from acceptance to the start of its execution
	Compute time.Duration // gathering the batch, running it, splitting it
	Batch   int           // rows of the execution that it was part of; 1 where the model does not batch
}

// Release ends the use of the outputs, and of the request's inputs, which they
// may alias. Call it when the outputs have been encoded; a second call does nothing.
func (r *Response) Release() {
	call, s := r.call, r.servable
	if call == nil {
		return
	}
	r.call, r.Outputs, r.inputs = nil, nil, nil
	call.Release()
	s.gate.leave()
	s.core.gate.leave()
}

// ModelMetadata answers the protocol's model metadata call.
type ModelMetadata struct {
	Name     string
	Versions []string // those that are ready, ascending
	Platform string   // e.g. "onnxruntime_onnx", the name that existing clients know for an ONNX model
	Inputs   []TensorInfo
	Outputs  []TensorInfo
}

// IndexEntry is one line of the repository index.
type IndexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	State   string `json:"state,omitempty"` // READY, LOADING, UNLOADING, UNAVAILABLE, or "" if never loaded
	Reason  string `json:"reason,omitempty"`
}

// The states of a model version in the repository index.
const (
	StateReady       = "READY"
	StateLoading     = "LOADING"
	StateUnloading   = "UNLOADING"
	StateUnavailable = "UNAVAILABLE"
)

// DurationStat is a count and a total time.
type DurationStat struct {
	Count uint64 `json:"count"`
	NS    uint64 `json:"ns"`
}

// ModelStatistics is Triton's statistics of one model version. Times are in
// nanoseconds, LastInference in milliseconds since the epoch.
type ModelStatistics struct {
	Name           string         `json:"name"`
	Version        string         `json:"version"`
	LastInference  uint64         `json:"last_inference"`
	InferenceCount uint64         `json:"inference_count"` // rows of successful requests
	ExecutionCount uint64         `json:"execution_count"`
	Inference      InferenceStats `json:"inference_stats"`
	ResponseStats  map[string]any `json:"response_stats"` // of decoupled models: always empty
	Batch          []BatchStats   `json:"batch_stats"`    // ascending by size
	MemoryUsage    []MemoryUsage  `json:"memory_usage"`
}

// InferenceStats are the totals over all requests.
type InferenceStats struct {
	Success       DurationStat `json:"success"`
	Fail          DurationStat `json:"fail"`
	Queue         DurationStat `json:"queue"`
	ComputeInput  DurationStat `json:"compute_input"`
	ComputeInfer  DurationStat `json:"compute_infer"`
	ComputeOutput DurationStat `json:"compute_output"`
	CacheHit      DurationStat `json:"cache_hit"`
	CacheMiss     DurationStat `json:"cache_miss"`
}

// BatchStats are the totals over the executions of one batch size.
type BatchStats struct {
	BatchSize     uint64       `json:"batch_size"`
	ComputeInput  DurationStat `json:"compute_input"`
	ComputeInfer  DurationStat `json:"compute_infer"`
	ComputeOutput DurationStat `json:"compute_output"`
}

// MemoryUsage is what a loaded model holds.
type MemoryUsage struct {
	Type     string `json:"type"` // CPU
	ID       int64  `json:"id"`
	ByteSize uint64 `json:"byte_size"`
}
