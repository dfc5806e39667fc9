package optest

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func sameShape(a, b *tensor.Tensor) bool { return slices.Equal(a.Shape, b.Shape) }

// defaultTol is the tolerance of a type, relative to the largest magnitude.
func defaultTol(dt dtype.Type) float64 {
	switch dt {
	case dtype.Float32, dtype.Float64:
		return 1e-5
	case dtype.Float16:
		return 2e-3
	case dtype.BFloat16:
		return 1e-2
	}
	return 0
}

// Compare reports the worst difference between two tensors beyond tol times
// the largest expected magnitude; tol 0 is the default of the element type.
func Compare(got, want *tensor.Tensor, tol float64) error {
	switch {
	case got == nil:
		return fmt.Errorf("found nothing, expected %s", want)
	case got.DType != want.DType || got.DType != dtype.Sequence && got.DType != dtype.Optional && !sameShape(got, want):
		return fmt.Errorf("found %s, expected %s", got, want)
	case want.DType == dtype.String:
		if !slices.Equal(got.Strings, want.Strings) {
			return fmt.Errorf("found %q, expected %q", got.Strings, want.Strings)
		}
		return nil
	case want.DType == dtype.Sequence || want.DType == dtype.Optional:
		return compareItems(got, want, tol)
	case !want.DType.IsFloat() || want.DType.Bits() < 16:
		return compareBytes(got, want, tol)
	}
	return compareFloats(num.Floats(got), num.Floats(want), max(tol, defaultTol(want.DType)))
}

func compareItems(got, want *tensor.Tensor, tol float64) error {
	if len(got.Items) != len(want.Items) {
		return fmt.Errorf("found %d items, expected %d", len(got.Items), len(want.Items))
	}
	for i := range want.Items {
		if err := Compare(got.Items[i], want.Items[i], tol); err != nil {
			return fmt.Errorf("item %d: %w", i, err)
		}
	}
	return nil
}

// compareBytes is exact, unless an integer tensor has a tolerance of its own.
func compareBytes(got, want *tensor.Tensor, tol float64) error {
	if tol > 0 && want.DType.IsInt() && want.DType.Bits() >= 8 {
		return compareFloats(num.Floats(got), num.Floats(want), tol)
	}
	if slices.Equal(got.Data, want.Data) {
		return nil
	}
	if want.DType.Bits() < 8 || want.DType.IsFloat() || want.DType == dtype.Complex64 || want.DType == dtype.Complex128 {
		return fmt.Errorf("found bytes %x, expected %x", got.Data, want.Data)
	}
	a, b := num.Floats(got), num.Floats(want)
	for i := range a {
		if a[i] != b[i] {
			return fmt.Errorf("element %d is %v, expected %v", i, a[i], b[i])
		}
	}
	return fmt.Errorf("found bytes %x, expected %x", got.Data, want.Data)
}

func compareFloats(got, want []float64, tol float64) error {
	scale := 0.
	for _, x := range want {
		if !math.IsInf(x, 0) {
			scale = max(scale, math.Abs(x))
		}
	}
	if math.IsNaN(scale) {
		scale = 1
	}
	worst, at := 0., -1
	for i := range want {
		d := math.Abs(got[i] - want[i])
		if got[i] == want[i] || math.IsNaN(got[i]) && math.IsNaN(want[i]) {
			continue
		}
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if worst > tol*scale {
		return fmt.Errorf("element %d is %v, expected %v (tolerance %g)", at, got[at], want[at], tol*scale)
	}
	return nil
}
