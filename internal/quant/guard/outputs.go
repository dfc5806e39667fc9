package guard

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/explain"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// Outputs gathers how far the outputs of a model are from a reference's, over samples.
type Outputs struct {
	list           []*Output
	labels         int // samples that have one
	right, trueRef int // of which the model and the reference know it
	strange        int // samples with a class that the output does not have
	class          int // of the last of these
}

// Output is one output of both models.
type Output struct {
	Name string
	explain.Tally
	// Classes compares rows of an output [rows, classes] as distributions:
	// probabilities if they are positive and add up to one, else logits.
	Classes Divergence
	unequal int // samples in which types or shapes differ, or contents that are no floats
}

// NewOutputs is for models with these outputs.
func NewOutputs(outputs []ir.Output) *Outputs {
	o := &Outputs{}
	for _, out := range outputs {
		o.list = append(o.list, &Output{Name: out.Name})
	}
	return o
}

// Add takes in the answers to one sample, with its class if that is known.
func (o *Outputs) Add(got, want []*tensor.Tensor, class int, labelled bool) error {
	if len(got) != len(o.list) || len(want) != len(o.list) {
		return fmt.Errorf("the models have %d and %d outputs, expected %d of both", len(got), len(want), len(o.list))
	}
	for i, out := range o.list {
		out.add(got[i], want[i])
	}
	if !labelled {
		return nil
	}
	for i := range o.list {
		if classes(want[i]) > 0 && want[i].Shape[0] == 1 && classes(got[i]) == classes(want[i]) {
			if class >= classes(want[i]) {
				o.strange++
				o.class = class
				return nil
			}
			o.labels++
			o.right += truth(argmax(tensor.Of[float32](got[i])) == class)
			o.trueRef += truth(argmax(tensor.Of[float32](want[i])) == class)
			return nil
		}
	}
	return nil
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// classes is the number of columns of an output that may be of a classifier; 0 of others.
func classes(t *tensor.Tensor) int {
	if t.DType != dtype.Float32 || t.Rank() != 2 || t.Shape[1] < 2 {
		return 0
	}
	return t.Shape[1]
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

func (o *Output) add(got, want *tensor.Tensor) {
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
		o.unequal++
		return
	}
	if want.DType != dtype.Float32 {
		o.unequal += truth(!slices.Equal(got.Data, want.Data) || !slices.Equal(got.Strings, want.Strings))
		return
	}
	g, w := tensor.Of[float32](got), tensor.Of[float32](want)
	o.Tally.Add(g, w)
	n := classes(want)
	for i := 0; n > 0 && i < len(w); i += n {
		o.Classes.Add(logits(g[i:i+n]), logits(w[i:i+n]))
	}
}

// logits gives logarithms of probabilities, and what is no distribution as it is.
// A probability of zero counts as 1e-30.
func logits(x []float32) []float32 {
	sum := 0.
	for _, v := range x {
		if !(v >= 0) {
			return x
		}
		sum += float64(v)
	}
	if math.Abs(sum-1) > .02 { // an integer Softmax is off by a step for each class
		return x
	}
	logs := make([]float32, len(x))
	for i, v := range x {
		logs[i] = float32(math.Log(max(float64(v), 1e-30)))
	}
	return logs
}

// SQNR is the lowest ratio in dB among the outputs; -999 if one differs in type, shape,
// or integers.
func (o *Outputs) SQNR() float64 {
	lowest := math.Inf(1)
	for _, out := range o.list {
		lowest = min(lowest, out.SQNR())
	}
	return lowest
}

// SQNR is the output's ratio in dB.
func (o *Output) SQNR() float64 {
	if o.unequal > 0 {
		return -explain.Exact
	}
	return o.Tally.SQNR()
}

// KLD is the largest mean divergence among outputs that are classifiers'; ok is false if none is.
func (o *Outputs) KLD() (kld float64, ok bool) {
	for _, out := range o.list {
		if out.Classes.Len() > 0 {
			kld, ok = max(kld, out.Classes.Mean()), true
		}
	}
	return kld, ok
}

// Agreement is the least share of equal likeliest classes among outputs that are
// classifiers'; ok is false if none is.
func (o *Outputs) Agreement() (share float64, ok bool) {
	share = 1
	for _, out := range o.list {
		if out.Classes.Len() > 0 {
			share, ok = min(share, out.Classes.Agreement()), true
		}
	}
	return share, ok
}

// Accuracy is the share of labelled samples whose class the model and the reference
// find; ok is false without labels, and where some are classes that the output does not have.
func (o *Outputs) Accuracy() (model, reference float64, ok bool) {
	if o.labels == 0 || o.strange > 0 {
		return 0, 0, false
	}
	n := float64(o.labels)
	return float64(o.right) / n, float64(o.trueRef) / n, true
}

// Each are the outputs in order.
func (o *Outputs) Each() []*Output { return o.list }
