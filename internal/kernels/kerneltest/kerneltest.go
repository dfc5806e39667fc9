// Package kerneltest helps to test kernels: every instruction-set level, buffers
// that end where memory does, and errors in units in the last place.
package kerneltest

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// Levels runs f as a subtest at each level that this machine has.
func Levels(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, l := range cpu.Levels() {
		t.Run(l.String(), func(t *testing.T) {
			defer cpu.Force(l)()
			f(t)
		})
	}
}

// Floats gives n elements, the last of which is followed by memory that can't
// be touched (where the system allows), with the values of f. A nil f is noise in [-8, 8).
func Floats(t testing.TB, n int, f func(i int) float32) []float32 {
	b := Guarded(t, 4*n)
	if n == 0 {
		return nil
	}
	x := unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n)
	r := rand.New(rand.NewPCG(uint64(n), 7))
	for i := range x {
		if f == nil {
			x[i] = r.Float32()*16 - 8
		} else {
			x[i] = f(i)
		}
	}
	return x
}

// ULP is the distance of got from want in units in the last place of a float32
// near want; 0 for two NaN or two equal infinities, and Inf where only one is
// not finite. Beyond the largest float32, want rounds to infinity.
func ULP(got float32, want float64) float64 {
	w := float32(want)
	switch {
	case got != got || w != w:
		if got != got && w != w {
			return 0
		}
		return math.Inf(1)
	case math.IsInf(float64(w), 0) || math.IsInf(float64(got), 0):
		if got == w {
			return 0
		}
		return math.Inf(1)
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// Same reports whether two results have the same bits, any NaN being like any other.
func Same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}
