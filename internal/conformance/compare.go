package conformance

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// ruleKind says how close an output must be.
type ruleKind uint8

const (
	backendRule ruleKind = iota // |d| ≤ 1e-3·|expected| + 1e-7 for each element, as goldenRule where products are of bfloat16; integers and strings are equal
	goldenRule                  // |d| ≤ max(1e-3·max|expected|, 4·diff); 1e-2 where the model computes with 16-bit floats
	int8Rule                    // as goldenRule with 1e-2, or the same top label and its score within 0.03
	randomRule                  // shape, type, and mean and deviation
)

type rule struct {
	kind ruleKind
	diff float64
	half bool // the model computes with 16-bit floats, or is made to
}

// compare reports how got differs from want beyond the rule.
func (r rule) compare(got, want *tensor.Tensor) error {
	if got == nil {
		return fmt.Errorf("expected %s, found nothing", want)
	}
	if got.DType != want.DType {
		return fmt.Errorf("expected %s, found %s", want, got)
	}
	switch got.DType {
	case dtype.Sequence, dtype.Optional:
		return r.compareItems(got, want)
	}
	if !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("expected %s, found %s", want, got)
	}
	switch {
	case r.kind == randomRule:
		return sameDistribution(floats(got), floats(want))
	case got.DType == dtype.String:
		return sameStrings(got.Strings, want.Strings)
	case got.DType.IsFloat() || got.DType == dtype.Complex64 || got.DType == dtype.Complex128:
		return r.compareFloats(got, want)
	case r.kind == goldenRule || r.kind == int8Rule:
		return r.compareInts(got, want)
	}
	if !slices.Equal(got.Data, want.Data) {
		g, w := floats(got), floats(want)
		for i := range w {
			if g[i] != w[i] {
				return fmt.Errorf("element %d: expected %v, found %v", i, w[i], g[i])
			}
		}
	}
	return nil
}

func (r rule) compareItems(got, want *tensor.Tensor) error {
	if len(got.Items) != len(want.Items) {
		return fmt.Errorf("expected %d items, found %d", len(want.Items), len(got.Items))
	}
	for i := range want.Items {
		if err := r.compare(got.Items[i], want.Items[i]); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

func sameStrings(got, want []string) error {
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("element %d: expected %q, found %q", i, want[i], got[i])
		}
	}
	return nil
}

func (r rule) compareFloats(got, want *tensor.Tensor) error {
	g, w := floats(got), floats(want)
	relative := 1e-3
	if r.kind == int8Rule || r.half || got.DType.Bits() <= 16 {
		relative = 1e-2
	}
	largest := 0.0
	for _, v := range w {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			largest = max(largest, math.Abs(v))
		}
	}
	var err error
	for i := range w {
		limit := max(relative*largest, 4*r.diff, smallestStep(got.DType))
		if r.kind == backendRule && !r.half {
			limit = relative*math.Abs(w[i]) + 1e-7
		}
		if d := math.Abs(g[i] - w[i]); !same(g[i], w[i]) && !(d <= limit) {
			err = fmt.Errorf("element %d: expected %v, found %v (off by %.3g, allowed %.3g)", i, w[i], g[i], d, limit)
			break
		}
	}
	if err != nil && r.kind == int8Rule && sameTopLabels(g, w, got.Shape) {
		return nil
	}
	return err
}

// smallestStep is the distance of the numbers next to zero, which a rounding
// more or less may be off by whatever the other elements are.
func smallestStep(dt dtype.Type) float64 {
	if dt == dtype.Float16 {
		return 0x1p-24
	}
	return 0
}

// compareInts allows what quantized outputs may differ by: one step.
func (r rule) compareInts(got, want *tensor.Tensor) error {
	g, w := floats(got), floats(want)
	limit := 4 * r.diff
	if got.DType.Bits() == 8 && got.DType != dtype.Bool && limit == 0 && r.kind == int8Rule {
		limit = 1
	}
	for i := range w {
		if math.Abs(g[i]-w[i]) > limit {
			return fmt.Errorf("element %d: expected %v, found %v", i, w[i], g[i])
		}
	}
	return nil
}

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

// sameTopLabels compares each row's largest score and its place.
func sameTopLabels(got, want []float64, shape []int) bool {
	if len(shape) == 0 || shape[0] == 0 || len(want) == 0 {
		return false
	}
	n := len(want) / shape[0]
	for row := range shape[0] {
		g, w := got[row*n:(row+1)*n], want[row*n:(row+1)*n]
		gi, wi := argmax(g), argmax(w)
		scale := max(1, math.Abs(w[wi]))
		if math.Abs(g[gi]-w[wi]) > 0.03*scale || gi != wi && math.Abs(w[gi]-w[wi]) > 0.03*scale {
			return false
		}
	}
	return true
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

// sameDistribution compares mean and standard deviation, where there are enough
// elements to tell.
func sameDistribution(got, want []float64) error {
	if len(want) < 30 {
		return nil
	}
	gm, gs := moments(got)
	wm, ws := moments(want)
	margin := 6 * (gs + ws) / math.Sqrt(float64(len(want)))
	if math.Abs(gm-wm) > margin+1e-6 || math.Abs(gs-ws) > margin+1e-6 {
		return fmt.Errorf("expected mean %.4g and deviation %.4g, found %.4g and %.4g", wm, ws, gm, gs)
	}
	return nil
}

func moments(s []float64) (mean, deviation float64) {
	for _, v := range s {
		mean += v
	}
	mean /= float64(len(s))
	for _, v := range s {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(s)))
}
