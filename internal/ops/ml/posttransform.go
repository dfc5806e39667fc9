package ml

import (
	"fmt"
	"math"
)

// transform is what follows the scores of one row.
type transform func([]float64)

// postTransforms are the values of the attribute post_transform, in the order
// of their numbers in TreeEnsemble.
var postTransforms = []string{"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"}

func postTransform(name string) (transform, error) {
	switch name {
	case "NONE":
		return func([]float64) {}, nil
	case "SOFTMAX":
		return func(s []float64) { softmax(s, false) }, nil
	case "SOFTMAX_ZERO":
		return func(s []float64) { softmax(s, true) }, nil
	case "LOGISTIC":
		return each(logistic), nil
	case "PROBIT":
		return each(func(x float64) float64 { return math.Sqrt2 * math.Erfinv(2*x-1) }), nil
	}
	return nil, fmt.Errorf("post_transform %q is unknown, expected one of %v", name, postTransforms)
}

func each(f func(float64) float64) transform {
	return func(s []float64) {
		for i, x := range s {
			s[i] = f(x)
		}
	}
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softmax leaves scores near zero alone if keepZero is set.
func softmax(s []float64, keepZero bool) {
	top, sum := math.Inf(-1), 0.
	for _, x := range s {
		top = max(top, x)
	}
	skip := func(x float64) bool { return keepZero && math.Abs(x) < 1e-7 }
	for i, x := range s {
		if !skip(x) {
			s[i] = math.Exp(x - top)
			sum += s[i]
		}
	}
	for i, x := range s {
		if !skip(x) {
			s[i] = x / sum
		}
	}
}
