package report

import "math"

// Exact stands for an infinite ratio, which JSON cannot hold.
const Exact = 999

// Decibels is the ratio of two sums of squares, 10·log10(signal/noise), within ±Exact.
func Decibels(signal, noise float64) float64 {
	switch {
	case noise == 0:
		return Exact
	case signal == 0:
		return -Exact
	}
	return 10 * math.Log10(signal/noise)
}
