package calib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// distribution scales values so that their standard deviation becomes that of
// the numbers of an 8-bit floating-point type, which lie the denser the nearer
// to zero: as ONNX Runtime scales for float8.
type distribution struct {
	stream
	sum, squares float64
}

func (d *distribution) Observe(x []float32) error {
	if err := d.stream.Observe(x); err != nil {
		return err
	}
	for _, v := range x {
		d.sum += float64(v)
		d.squares += float64(v) * float64(v)
	}
	return nil
}

// Range is symmetric: the type's largest finite number times the scale.
func (d *distribution) Range(t dtype.Type, _ bool) (quant.Range, error) {
	if d.total == 0 {
		return quant.Range{}, errNothing()
	}
	deviation, largest, err := spread(t)
	if err != nil {
		return quant.Range{}, err
	}
	mean := d.sum / float64(d.total)
	limit := math.Sqrt(math.Max(0, d.squares/float64(d.total)-mean*mean)) / deviation * largest
	return quant.Range{Min: -limit, Max: limit}, nil
}

// spread is the standard deviation of all finite numbers of an 8-bit
// floating-point type, each code once, and the largest of them.
func spread(t dtype.Type) (deviation, largest float64, err error) {
	switch t {
	case dtype.Float8E4M3FN, dtype.Float8E4M3FNUZ, dtype.Float8E5M2, dtype.Float8E5M2FNUZ:
	default:
		return 0, 0, fmt.Errorf("the distribution calibrator makes scales of 8-bit floats: expected float8e4m3fn, float8e4m3fnuz, float8e5m2 or float8e5m2fnuz, found %s; for integers take minmax, percentile, entropy or mse", t)
	}
	n, sum, squares := 0., 0., 0.
	for code := range 256 {
		v := float64(dtype.FromNarrow(t, byte(code)))
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		n, sum, squares, largest = n+1, sum+v, squares+v*v, math.Max(largest, v)
	}
	mean := sum / n
	return math.Sqrt(squares/n - mean*mean), largest, nil
}
