package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

var labelTypes = []dtype.Type{dtype.String, dtype.Int64}

const scoreType = dtype.Float32

// labels are the names of a classifier's classes.
type labels struct {
	strings []string
	ints    []int
}

// newLabels reads classlabels_strings, or else the integers of another attribute.
func newLabels(n *ir.Node, intName string) (labels, error) {
	l := labels{strings: n.Strs("classlabels_strings"), ints: n.Ints(intName)}
	if len(l.strings) > 0 && len(l.ints) > 0 {
		return l, fmt.Errorf("classlabels_strings and %s exclude each other", intName)
	}
	if l.len() == 0 {
		return l, fmt.Errorf("expected classlabels_strings or %s, found neither", intName)
	}
	return l, nil
}

func (l labels) len() int { return len(l.strings) + len(l.ints) }

func (l labels) dtype() dtype.Type {
	if len(l.strings) > 0 {
		return dtype.String
	}
	return dtype.Int64
}

func (l labels) output(c *op.Call, rows int) *tensor.Tensor { return c.Output(0, l.dtype(), rows) }

func (l labels) set(y *tensor.Tensor, row, class int) {
	if len(l.strings) > 0 {
		y.Strings[row] = l.strings[class]
	} else {
		tensor.Of[int64](y)[row] = int64(l.ints[class])
	}
}

func argmax(s []float64) int {
	best := 0
	for i, v := range s {
		if v > s[best] {
			best = i
		}
	}
	return best
}

// twoScores makes both classes' scores of the one that a binary classifier has,
// as onnxruntime does: of the post transforms only LOGISTIC counts. The rest to
// one, with complement set, or the negative is what the first class gets.
func twoScores(s float64, scores []float64, complement bool, post string) {
	switch {
	case post == "LOGISTIC":
		scores[0], scores[1] = logistic(-s), logistic(s)
	case complement:
		scores[0], scores[1] = 1-s, s
	default:
		scores[0], scores[1] = -s, s
	}
}
