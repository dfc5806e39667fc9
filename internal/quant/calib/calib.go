// Package calib chooses the range that integers are to cover from the values
// that a tensor was seen to have. Observers see values once, piece by piece, in
// memory that does not grow with their number.
package calib

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// Observer watches one tensor. It is used by one goroutine.
type Observer interface {
	// Observe takes in one sample's values. It refuses NaN and infinities.
	Observe(x []float32) error
	// Range is the range to map onto the integers of a type. It fails if nothing was seen.
	Range(t dtype.Type, symmetric bool) (quant.Range, error)
	// Histogram is what was seen, for reports; nil if the method keeps none.
	Histogram() *Histogram
}

// Histogram counts values in bins of equal width from Min to Max.
type Histogram struct {
	Min    float64  `json:"min"`
	Max    float64  `json:"max"`
	Counts []uint64 `json:"counts"`
}
