package backend

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/tensor"
)

// maxPrepared bounds the inputs, in bytes, that Prepare makes.
const maxPrepared = 64 << 20

// Prepare packs the weights and plans for one row, so that the first request
// takes no longer than others, and a model that does not fit into memory is
// refused when it is loaded. It does nothing for a model with a dimension that
// only requests tell.
func (b *Backend) Prepare() error {
	var inputs []*tensor.Tensor
	for i := range b.inputs {
		in := &b.inputs[i]
		if in.DType == dtype.String || in.DType.Bits() == 0 {
			return nil
		}
		shape, bytes := make([]int, len(in.Shape)), in.DType.Bits()/8+1
		for d, n := range in.Shape {
			switch {
			case n == -1 && d > 0:
				return nil
			case n == -1:
				n = 1
			case n > maxPrepared/bytes:
				return nil
			}
			shape[d] = n
			bytes *= max(n, 1)
		}
		inputs = append(inputs, tensor.New(in.DType, shape...))
	}
	// Other errors are for the requests to tell: this is not one.
	if _, err := b.engine.PlanFor(inputs); exec.IsMemoryError(err) {
		return err
	}
	return nil
}
