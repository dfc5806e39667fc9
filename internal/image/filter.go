package image

import (
	"fmt"
	"math"
	"strings"
)

// Filter is a resampling filter, numbered as in Pillow and as in the
// "resample" field of Hugging Face's configurations.
type Filter int

// Pillow's filters.
const (
	Nearest Filter = iota
	Lanczos
	Bilinear
	Bicubic
	Box
	Hamming
)

var filterNames = [...]string{"nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"}

// String is the filter's name in recipes.
func (f Filter) String() string {
	if f < 0 || int(f) >= len(filterNames) {
		return fmt.Sprintf("filter(%d)", int(f))
	}
	return filterNames[f]
}

// ParseFilter reads a filter's name.
func ParseFilter(s string) (Filter, error) {
	for i, n := range filterNames {
		if n == s {
			return Filter(i), nil
		}
	}
	return 0, fmt.Errorf("filter %q: expected one of %s", s, strings.Join(filterNames[:], ", "))
}

// support is the filter's radius in source pixels at scale 1.
func (f Filter) support() float64 {
	return [...]float64{Lanczos: 3, Bilinear: 1, Bicubic: 2, Box: 0.5, Hamming: 1}[f]
}

// weight is the filter at distance x. The expressions, and the roundings of
// each, are those of Pillow's Resample.c.
func (f Filter) weight(x float64) float64 {
	switch f {
	case Box:
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	case Bilinear:
		if x = math.Abs(x); x < 1 {
			return 1 - x
		}
		return 0
	case Hamming:
		return hamming(math.Abs(x))
	case Bicubic:
		return bicubic(math.Abs(x))
	case Lanczos:
		if x >= -3 && x < 3 {
			return float64(sinc(x) * sinc(x/3))
		}
	}
	return 0
}

func hamming(x float64) float64 {
	if x == 0 {
		return 1
	}
	if x >= 1 {
		return 0
	}
	x = float64(x * math.Pi)
	return float64(math.Sin(x) / x * float64(0.54+float64(0.46*math.Cos(x))))
}

// bicubic is Keys' kernel with a = -0.5.
func bicubic(x float64) float64 {
	const a = -0.5
	if x < 1 {
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	}
	if x < 2 {
		return float64(float64(float64(float64(float64(x-5)*x)+8)*x)-4) * a
	}
	return 0
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	x = float64(x * math.Pi)
	return math.Sin(x) / x
}
