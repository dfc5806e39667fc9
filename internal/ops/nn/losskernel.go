package nn

import (
	"github.com/salver-ml/salver/internal/dtype"
	logs "github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// lossKernel is a loss of float32 numbers: of logarithms, or of what their softmax makes of them.
type lossKernel struct {
	logs          *logs.Softmax // nil: the input holds logarithms
	dims, targets []int         // shapes of the input and of the classes
	lossRule
	keeps bool // the logarithms are no output, and lie in scratch memory
}

// lossRule says which losses count, and what becomes of them.
type lossRule struct {
	reduction string
	ignores   bool
	ignored   int64
}

// compileLoss serves classes of the input's shape without its second dimension.
func compileLoss(p *op.Prep, crossEntropy bool) (op.Kernel, error) {
	x, targets := p.InShape(0), p.InShape(1)
	if p.In[0].DType != dtype.Float32 || len(x) < 2 || tensor.Count(targets)*x[1] != tensor.Count(x) {
		return nil, nil
	}
	k := &lossKernel{dims: x, targets: targets, lossRule: lossRule{reduction: p.Node.Str("reduction"), ignores: p.Node.Has("ignore_index")}}
	if k.ignores {
		k.ignored = int64(p.Node.Int("ignore_index"))
	}
	if !crossEntropy {
		return k, nil
	}
	k.keeps = p.Node.Output(1) == nil
	var err error
	k.logs, err = logs.New(logs.Log, []int{x[0], x[1], tensor.Count(x[2:])}, 1)
	return k, err
}

// ScratchBytes is what the logarithms take.
func (k *lossKernel) ScratchBytes() int {
	if k.logs == nil {
		return 0
	}
	n := 4 * k.logs.Scratch()
	if k.keeps {
		n = op.Align(n) + 4*tensor.Count(k.dims)
	}
	return n
}

// Run computes the loss.
func (k *lossKernel) Run(c *op.Call) error {
	v := tensor.Of[float32](c.In[0])
	if k.logs != nil {
		own := 4 * k.logs.Scratch()
		scratch, held := tensor.Tensor{Data: c.Scratch[:own]}, tensor.Tensor{}
		if k.keeps {
			held.Data = c.Scratch[op.Align(own):][:4*len(v)]
		} else {
			held.Data = c.Output(1, dtype.Float32, k.dims...).Data
		}
		to := tensor.Of[float32](&held)
		k.logs.Run(c.Pool, to, v, tensor.Of[float32](&scratch))
		v = to
	}
	var weight []float32
	if t := c.Input(2); t != nil {
		if err := checkWeight(t, k.dims[1]); err != nil {
			return err
		}
		weight = tensor.Of[float32](t)
	}
	var each []float32
	var one *tensor.Tensor
	if k.reduction == "none" {
		each = tensor.Of[float32](c.Output(0, dtype.Float32, k.targets...))
	} else {
		one = c.Output(0, dtype.Float32)
	}
	var sum, weights float64
	var err error
	if t := c.In[1]; t.DType == dtype.Int64 {
		sum, weights, err = addLosses(k, each, v, weight, tensor.Of[int64](t))
	} else {
		sum, weights, err = addLosses(k, each, v, weight, tensor.Of[int32](t))
	}
	if err != nil || one == nil {
		return err
	}
	if k.reduction == "mean" {
		sum /= weights
	}
	tensor.Of[float32](one)[0] = float32(sum)
	return nil
}

// addLosses adds up the losses and their weights, and writes each where it is asked for.
func addLosses[I int32 | int64](k *lossKernel, each, v, weight []float32, targets []I) (sum, weights float64, err error) {
	classes, area := k.dims[1], tensor.Count(k.dims[2:])
	for i, t := range targets {
		class, loss := int64(t), 0.
		switch {
		case k.ignores && class == k.ignored:
		case class < 0 || class >= int64(classes):
			return 0, 0, wrongClass(i, class, classes)
		default:
			w := 1.
			if weight != nil {
				w = float64(weight[class])
			}
			loss = -float64(v[(i/area*classes+int(class))*area+i%area]) * w
			sum += loss
			weights += w
		}
		if each != nil {
			each[i] = float32(loss)
		}
	}
	return sum, weights, nil
}
