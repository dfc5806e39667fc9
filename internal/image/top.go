package image

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// Ranking is the best classes of one output row, best first.
type Ranking struct {
	// Kind says what Score is: "probabilities of the model", "scores of the
	// model, 0 to 1", or "softmax of the model's raw scores".
	Kind    string  `json:"kind"`
	Classes []Class `json:"classes"`
}

// Class is one class and its score.
type Class struct {
	Index int     `json:"index"`
	Label string  `json:"label,omitempty"`
	Score float64 `json:"score"`
}

// Top ranks the n best classes of an output of shape [1,classes] (dimensions
// of 1 elsewhere are fine). Values outside 0..1 go through softmax, others are
// given as they are: probabilities if their sum is about 1, scores if not (of
// labels that do not exclude each other, or after coarse quantization). Kind
// says which. labels may be nil.
func Top(out *tensor.Tensor, labels []string, n int) (Ranking, error) {
	scores, err := floats(out)
	if err != nil {
		return Ranking{}, err
	}
	if len(scores) == 0 || slices.Max(out.Shape) != len(scores) {
		return Ranking{}, fmt.Errorf("labels: expected one row of class scores, e.g. [1,1000], found %s", out)
	}
	if labels != nil && len(labels) != len(scores) {
		return Ranking{}, fmt.Errorf("labels: the output %s has %d classes, the label file %d lines", out, len(scores), len(labels))
	}
	r := Ranking{Kind: kind(scores)}
	if r.Kind == rawScores {
		softmax(scores)
	}
	for i, s := range scores {
		c := Class{Index: i, Score: s}
		if labels != nil {
			c.Label = labels[i]
		}
		r.Classes = append(r.Classes, c)
	}
	slices.SortStableFunc(r.Classes, func(a, b Class) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	r.Classes = r.Classes[:min(n, len(r.Classes))]
	return r, nil
}

// WriteTo prints the ranking as a small table.
func (r Ranking) WriteTo(w io.Writer) (int64, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s:\n", r.Kind)
	for _, c := range r.Classes {
		fmt.Fprintf(&b, "  %.4f  %5d  %s\n", c.Score, c.Index, c.Label)
	}
	return b.WriteTo(w)
}

func floats(t *tensor.Tensor) ([]float64, error) {
	out := make([]float64, t.Len())
	for i := range out {
		switch t.DType {
		case dtype.Float32:
			out[i] = float64(tensor.Of[float32](t)[i])
		case dtype.Float64:
			out[i] = tensor.Of[float64](t)[i]
		case dtype.Float16:
			out[i] = float64(dtype.F16ToF32(tensor.Of[uint16](t)[i]))
		case dtype.BFloat16:
			out[i] = float64(dtype.BF16ToF32(tensor.Of[uint16](t)[i]))
		default:
			return nil, fmt.Errorf("labels: expected an output of float scores, found %s", t)
		}
		if math.IsNaN(out[i]) || math.IsInf(out[i], 1) {
			return nil, fmt.Errorf("labels: score %d of %s is %g", i, t, out[i])
		}
	}
	return out, nil
}

const rawScores = "softmax of the model's raw scores"

// kind tells what s holds; the tolerance is what half precision loses.
func kind(s []float64) string {
	sum := 0.0
	for _, v := range s {
		if v < 0 || v > 1.0001 {
			return rawScores
		}
		sum += v
	}
	if math.Abs(sum-1) < 0.05 {
		return "probabilities of the model"
	}
	return "scores of the model, 0 to 1"
}

func softmax(s []float64) {
	m, sum := slices.Max(s), 0.0
	for i, v := range s {
		s[i] = math.Exp(v - m)
		sum += s[i]
	}
	for i := range s {
		s[i] /= sum
	}
}

// ReadLabels reads a label file: one label a line, in the order of the classes.
func ReadLabels(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var labels []string
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		labels = append(labels, strings.TrimSpace(strings.TrimPrefix(sc.Text(), "\ufeff")))
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for len(labels) > 0 && labels[len(labels)-1] == "" { // blank lines at the end are no classes
		labels = labels[:len(labels)-1]
	}
	if len(labels) == 0 {
		return nil, fmt.Errorf("%s: no labels: expected one a line", path)
	}
	return labels, nil
}
