package plan

import (
	"math/rand/v2"
	"testing"
)

func TestPlaceNeverOverlapsLiveBuffers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		bufs := make([]Buffer, r.IntN(60))
		for i := range bufs {
			first := r.IntN(40)
			bufs[i] = Buffer{Size: r.IntN(5000), First: first, Last: first + r.IntN(10)}
		}
		l := Place(bufs)
		for i, a := range bufs {
			if a.Size > 0 && l.Offsets[i]+a.Size > l.Total {
				t.Fatalf("buffer %d ends beyond the arena", i)
			}
			for j, b := range bufs[:i] {
				alive := a.First <= b.Last && b.First <= a.Last
				share := l.Offsets[i] < l.Offsets[j]+b.Size && l.Offsets[j] < l.Offsets[i]+a.Size
				if a.Size > 0 && b.Size > 0 && alive && share {
					t.Fatalf("buffers %d and %d overlap: %+v at %d, %+v at %d", i, j, a, l.Offsets[i], b, l.Offsets[j])
				}
			}
		}
		if l.Total < l.Bound {
			t.Fatalf("arena of %d bytes is below the bound of %d", l.Total, l.Bound)
		}
	}
}

func TestPlaceReachesTheBoundOfAChain(t *testing.T) {
	var bufs []Buffer
	for i := range 10 {
		bufs = append(bufs, Buffer{Size: 1024 * (i%2 + 1), First: i, Last: i + 1})
	}
	if l := Place(bufs); l.Total != l.Bound {
		t.Errorf("arena %d, bound %d", l.Total, l.Bound)
	}
}
