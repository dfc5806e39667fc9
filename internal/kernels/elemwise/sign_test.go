package elemwise

import (
	"math"
	"testing"
)

func TestSignIsThatOfFloat64(t *testing.T) {
	x := append([]float32{math.MaxFloat32, -math.MaxFloat32, 1e-45, -1e-45, 1, -1, -2.5}, special...)
	for i := range uint32(1 << 16) {
		x = append(x, math.Float32frombits(i<<16|i))
	}
	got := make([]float32, len(x))
	Float32(Sign)(got, x, Params{})
	for i, v := range x {
		want := float32(sign(float64(v)))
		if math.Float32bits(got[i]) != math.Float32bits(want) && (got[i] == got[i] || want == want) {
			t.Fatalf("sign of %v is %v, want %v", v, got[i], want)
		}
	}
}
