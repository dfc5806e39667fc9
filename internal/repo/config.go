package repo

import (
	"github.com/salver-ml/salver/internal/dtype"
)

// Config is a model's configuration: the fields of Triton's ModelConfig that
// take effect here, under their names there. It marshals to the JSON that
// Triton's model configuration extension answers with. Fields of ModelConfig
// that have no place here are refused by Parse.
type Config struct {
	Name                 string               `json:"name"`
	Platform             string               `json:"platform"`
	Backend              string               `json:"backend"`
	Runtime              string               `json:"runtime"`
	VersionPolicy        VersionPolicy        `json:"version_policy"`
	MaxBatchSize         int                  `json:"max_batch_size"` // 0: requests are not batched, and dims include every dimension
	Input                []Tensor             `json:"input"`
	Output               []Tensor             `json:"output"`
	DynamicBatching      *DynamicBatching     `json:"dynamic_batching,omitempty"`
	InstanceGroup        []InstanceGroup      `json:"instance_group"`
	DefaultModelFilename string               `json:"default_model_filename"`
	Parameters           map[string]Parameter `json:"parameters"`
	ModelWarmup          []Warmup             `json:"model_warmup"`

	// MaxBatchSizeSet tells an explicit max_batch_size from an absent one,
	// which is completed from the model.
	MaxBatchSizeSet bool `json:"-"`

	// Labels are the class names of outputs, from the files that label_filename names.
	Labels map[string][]string `json:"-"`
}

// Tensor describes one input or output. Dims has -1 for a dimension of any
// size, and leaves out the batch dimension where Config.MaxBatchSize > 0.
type Tensor struct {
	Name          string   `json:"name"`
	DataType      DataType `json:"data_type"`
	Dims          []int    `json:"dims"`
	Reshape       *Reshape `json:"reshape,omitempty"`
	Optional      bool     `json:"optional,omitempty"`       // inputs only
	LabelFilename string   `json:"label_filename,omitempty"` // outputs only
}

// Reshape is the shape that the model itself has for a tensor, without the batch dimension.
type Reshape struct {
	Shape []int `json:"shape"`
}

// DataType is an element type, spelled as in ModelConfig: TYPE_FP32, TYPE_STRING, …
type DataType dtype.Type

// VersionPolicy says which of the versions in a model's folder are served. The
// zero value is Triton's default, the latest one.
type VersionPolicy struct {
	Latest   *Latest   `json:"latest,omitempty"`
	All      *struct{} `json:"all,omitempty"`
	Specific *Specific `json:"specific,omitempty"`
}

// Latest serves the NumVersions highest versions.
type Latest struct {
	NumVersions int `json:"num_versions"`
}

// Specific serves the versions listed.
type Specific struct {
	Versions []int64 `json:"versions"`
}

// DynamicBatching configures how requests are put together.
type DynamicBatching struct {
	PreferredBatchSize        []int                  `json:"preferred_batch_size"`
	MaxQueueDelayMicroseconds uint64                 `json:"max_queue_delay_microseconds"`
	PreserveOrdering          bool                   `json:"preserve_ordering"`
	PriorityLevels            uint64                 `json:"priority_levels"`
	DefaultPriorityLevel      uint64                 `json:"default_priority_level"`
	DefaultQueuePolicy        *QueuePolicy           `json:"default_queue_policy,omitempty"`
	PriorityQueuePolicy       map[uint64]QueuePolicy `json:"priority_queue_policy,omitempty"`
}

// QueuePolicy bounds a queue and the time requests spend in it.
type QueuePolicy struct {
	TimeoutAction              TimeoutAction `json:"timeout_action"`
	DefaultTimeoutMicroseconds uint64        `json:"default_timeout_microseconds"`
	AllowTimeoutOverride       bool          `json:"allow_timeout_override"`
	MaxQueueSize               *int          `json:"max_queue_size,omitempty"` // requests; nil: the server's default; 0: no bound
}

// TimeoutAction is what happens to a request that waited too long.
type TimeoutAction string

// The actions: refuse the request, or serve it after all others of its level.
const (
	Reject TimeoutAction = "REJECT"
	Delay  TimeoutAction = "DELAY"
)

// InstanceGroup says how many executions of a model may run at once.
type InstanceGroup struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"` // KIND_AUTO, KIND_CPU or KIND_MODEL
	Count int    `json:"count"`
}

// Parameter is a free setting for the engine.
type Parameter struct {
	StringValue string `json:"string_value"`
}

// Warmup is a request that runs before a model is ready.
type Warmup struct {
	Name      string                 `json:"name"`
	BatchSize int                    `json:"batch_size"`
	Count     int                    `json:"count"` // 0 means 1
	Inputs    map[string]WarmupInput `json:"inputs"`
}

// WarmupInput is one input of a warm-up request: zeros, or random values.
type WarmupInput struct {
	DataType   DataType `json:"data_type"`
	Dims       []int    `json:"dims"`
	ZeroData   bool     `json:"zero_data,omitempty"`
	RandomData bool     `json:"random_data,omitempty"`
}

var configTypes = map[DataType]string{
	DataType(dtype.Bool): "TYPE_BOOL", DataType(dtype.Uint8): "TYPE_UINT8", DataType(dtype.Uint16): "TYPE_UINT16",
	DataType(dtype.Uint32): "TYPE_UINT32", DataType(dtype.Uint64): "TYPE_UINT64", DataType(dtype.Int8): "TYPE_INT8",
	DataType(dtype.Int16): "TYPE_INT16", DataType(dtype.Int32): "TYPE_INT32", DataType(dtype.Int64): "TYPE_INT64",
	DataType(dtype.Float16): "TYPE_FP16", DataType(dtype.Float32): "TYPE_FP32", DataType(dtype.Float64): "TYPE_FP64",
	DataType(dtype.String): "TYPE_STRING", DataType(dtype.BFloat16): "TYPE_BF16",
}

// String is ModelConfig's name of the type.
func (d DataType) String() string {
	if s, ok := configTypes[d]; ok {
		return s
	}
	return "TYPE_INVALID"
}

// MarshalText writes ModelConfig's name of the type.
func (d DataType) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (d *DataType) UnmarshalText(b []byte) error {
	*d, _ = ParseDataType(string(b)) // TYPE_INVALID is the zero value
	return nil
}

// ParseDataType is the inverse of DataType.String.
func ParseDataType(s string) (DataType, bool) {
	for d, name := range configTypes {
		if name == s {
			return d, true
		}
	}
	return 0, false
}
