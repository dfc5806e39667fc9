// Package samples reads the data that quantizers look at and accuracy is
// measured on.
package samples

import (
	"context"

	"github.com/salver-ml/salver/internal/tensor"
)

// Set is a finite list of inputs of one model, read when they are asked for, so
// that a set may be larger than memory. Reading the same sample twice gives the
// same tensors. It is used by one goroutine.
type Set interface {
	// Len is the number of samples.
	Len() int
	// At gives sample i: a tensor for each of the graph's inputs, in their order.
	// It is the caller's until the next call.
	At(ctx context.Context, i int) ([]*tensor.Tensor, error)
	// Label gives sample i's class, if the set has labels.
	Label(i int) (class int, ok bool)
}
