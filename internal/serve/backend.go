package serve

import (
	"context"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/tensor"
)

// TensorInfo describes an input or output of a model.
type TensorInfo struct {
	Name     string
	DType    dtype.Type
	Shape    []int    // -1 where any size goes; nil where the rank is unknown, too
	Optional bool     // inputs only: may be left out
	Labels   []string // outputs only: the names of the classes, where the model has them
}

// Backend executes one version of a model. Its methods are called from several
// goroutines at once; Close is called once, after the last Run has returned
// and the last output is released.
type Backend interface {
	// Inputs and Outputs describe the model's tensors, in the order that Run
	// takes and gives them. The answer never changes.
	Inputs() []TensorInfo
	Outputs() []TensorInfo

	// Batchable reports whether requests may be put together along the first
	// dimension: it is symbolic in every input and output, and every output's
	// rows are proved to depend on the same rows of the inputs alone. If not,
	// reason says why, naming the node.
	Batchable() (ok bool, reason string)

	// Run computes the outputs. An optional input that is absent is nil. The
	// inputs are left untouched, by Run and by the caller, until release is
	// called, so outputs may alias them. release is never nil when err is nil.
	// Run returns soon after ctx is done, with ctx's error. An *Error keeps its
	// kind; any other error is Internal.
	Run(ctx context.Context, inputs []*tensor.Tensor) (outputs []*tensor.Tensor, release func(), err error)

	// MemoryBytes is what the loaded model holds: weights, packed weights and arena.
	MemoryBytes() int64

	Close() error
}

// Concurrent is a Backend that takes several requests at once and joins them
// itself, as an engine of language models does.
type Concurrent interface {
	Concurrent() int // runs at once, at most
}

// OpenRequest says what to load.
type OpenRequest struct {
	Model   string
	Version int64
	Path    string       // the model file
	Config  *repo.Config // as written by the user, not yet completed from the model
}

// Opener makes a model file ready to run. It is called without locks held, at
// most Options.LoadThreads at a time.
type Opener func(ctx context.Context, r OpenRequest) (Backend, error)
