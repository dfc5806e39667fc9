package dtype

import (
	"math"
	"testing"
)

func TestF16RoundTripsEveryValue(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		f := F16ToF32(h)
		if f != f {
			if got := F32ToF16(f); got&0x7c00 != 0x7c00 || got&0x3ff == 0 {
				t.Fatalf("NaN %#x became %#x", h, got)
			}
			continue
		}
		if got := F32ToF16(f); got != h {
			t.Fatalf("%#x -> %g -> %#x", h, f, got)
		}
	}
}

func TestF16RoundsHalfwayToEven(t *testing.T) {
	for i := range 0x7bff {
		lo, hi := float64(F16ToF32(uint16(i))), float64(F16ToF32(uint16(i+1)))
		want := uint16(i)
		if i&1 == 1 {
			want++
		}
		mid := float32((lo + hi) / 2)
		if got := F32ToF16(mid); got != want {
			t.Fatalf("midpoint above %#x: got %#x want %#x", i, got, want)
		}
		if got := F32ToF16(math.Nextafter32(mid, 0)); got != uint16(i) {
			t.Fatalf("below midpoint above %#x: got %#x", i, got)
		}
		if got := F32ToF16(math.Nextafter32(mid, 1e9)); got != uint16(i+1) {
			t.Fatalf("above midpoint above %#x: got %#x", i, got)
		}
	}
}

func TestBF16RoundTripsEveryValue(t *testing.T) {
	for i := range 1 << 16 {
		f := BF16ToF32(uint16(i))
		if got := F32ToBF16(f); f == f && got != uint16(i) {
			t.Fatalf("%#x -> %g -> %#x", i, f, got)
		}
	}
}

func TestNamesTellTypesApart(t *testing.T) {
	oip := map[string]Type{}
	for typ := range infos {
		if other, twice := oip[typ.OIP()]; twice && typ.OIP() != "" {
			t.Errorf("%v and %v are both %s", typ, other, typ.OIP())
		}
		oip[typ.OIP()] = typ
		if Parse(typ.String()) != typ {
			t.Errorf("%v", typ)
		}
	}
}
