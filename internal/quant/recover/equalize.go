package recover

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

const (
	// maxRounds bounds the passes over the graph; layers in a row take several to settle.
	maxRounds = 20
	// settled is by how much factors may still differ from one at the end.
	settled = 1e-3
)

// Equalize scales the channels between two layers, where only Relu and the like stand
// between them, so that the weights that make a channel and those that read it have
// the same range: by s = √(r₁·r₂)/r₂, r being the largest magnitudes (equation 11 of
// arXiv 1906.04721). The graph computes the same but for rounding. It gives the number of
// pairs. This helps weights with one scale for a whole tensor, above all those of
// depthwise convolutions; it may hurt the range of activations.
func Equalize(g *ir.Graph) (pairs int) {
	for round := range maxRounds {
		found, moved := 0, 0.
		for _, l := range layers(g) {
			readers, last := consumers(l.n.In[0])
			if len(readers) != 1 {
				continue
			}
			s := findScaling(l.n.In[0], last, l.inputs())
			if s == nil || s.source == nil {
				continue
			}
			found++
			moved = max(moved, equalize(s, l))
		}
		if pairs = found; moved < settled || round == maxRounds-1 {
			break
		}
	}
	return pairs
}

// equalize scales one pair and gives the largest |ln s|.
func equalize(s *scaling, l *layer) (moved float64) {
	made, read := s.source.outputRanges(), l.inputRanges()
	by := make([]float32, len(made))
	for i := range by {
		by[i] = 1
		if made[i] > 0 && read[i] > 0 {
			by[i] = float32(math.Sqrt(float64(made[i]) / float64(read[i])))
		}
		moved = max(moved, math.Abs(math.Log(float64(by[i]))))
	}
	if moved > 0 {
		s.divide(by)
		l.multiplyInputs(by)
	}
	return moved
}

// outputRanges are the largest magnitudes of weights by the channel that they make.
func (l *layer) outputRanges() []float32 {
	r := make([]float32, l.outputs())
	inner := tensor.Count(l.weights().Shape[l.out+1:])
	for i, v := range tensor.Of[float32](l.weights()) {
		o := i / inner % len(r)
		r[o] = max(r[o], v, -v)
	}
	return r
}
