package plan

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestPlaceNeverOverlapsLiveBuffers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		bufs := make([]Buffer, r.IntN(60))
		for i := range bufs {
			first := r.IntN(40)
			bufs[i] = Buffer{Size: 64 * r.IntN(80), First: first, Last: first + r.IntN(10)}
		}
		l := Place(bufs, nil)
		checkLayout(t, bufs, l.Offsets, l.Total)
		offsets, total := placeInOrder(bufs)
		checkLayout(t, bufs, offsets, total)
		if l.Total < l.Bound || total < l.Total {
			t.Fatalf("arena of %d bytes, %d in order of execution, bound %d", l.Total, total, l.Bound)
		}
	}
}

func checkLayout(t *testing.T, bufs []Buffer, offsets []int, total int) {
	t.Helper()
	for i, a := range bufs {
		if a.Size > 0 && offsets[i]+a.Size > total {
			t.Fatalf("buffer %d ends beyond the arena", i)
		}
		for j, b := range bufs[:i] {
			alive := a.First <= b.Last && b.First <= a.Last
			share := offsets[i] < offsets[j]+b.Size && offsets[j] < offsets[i]+a.Size
			if a.Size > 0 && b.Size > 0 && alive && share {
				t.Fatalf("buffers %d and %d overlap: %+v at %d, %+v at %d", i, j, a, offsets[i], b, offsets[j])
			}
		}
	}
}

func TestPlaceReachesTheBoundOfAChain(t *testing.T) {
	var bufs []Buffer
	for i := range 10 {
		bufs = append(bufs, Buffer{Size: 1024 * (i%2 + 1), First: i, Last: i + 1})
	}
	if l := Place(bufs, nil); l.Total != l.Bound {
		t.Errorf("arena %d, bound %d", l.Total, l.Bound)
	}
}

func TestPlaceComesNearTheBound(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var orders [][]int
	for i := range 20 {
		var bufs []Buffer
		for i := range 200 {
			bufs = append(bufs, Buffer{Size: 64 * (1 + r.IntN(64)), First: i, Last: i + 1 + r.IntN(4)})
		}
		l := Place(bufs, nil)
		orders = append(orders, l.Order)
		if float64(l.Total) > 1.04*float64(l.Bound) {
			t.Errorf("graph %d: arena %d, bound %d", i, l.Total, l.Bound)
		}
		if again := Place(bufs, nil); again.Total != l.Total || !slices.Equal(again.Offsets, l.Offsets) {
			t.Errorf("graph %d: two plans differ", i)
		}
		if hinted := Place(bufs, l.Order); hinted.Total > l.Total {
			t.Errorf("graph %d: arena %d with its own order as a hint, %d without", i, hinted.Total, l.Total)
		}
	}
	for _, hint := range [][]int{{}, {0, 0}, {-1, 9}, orders[0]} { // of another graph: ignored
		if l := Place([]Buffer{{100, 0, 1}, {200, 1, 2}}, hint); l.Total != l.Bound {
			t.Errorf("hint %v: arena %d, bound %d", hint, l.Total, l.Bound)
		}
	}
}

func TestPlaceThousandsThatLiveAtOnce(t *testing.T) {
	n := 5000
	var bufs []Buffer
	for i := range n {
		bufs = append(bufs, Buffer{Size: 64 * (1 + i%7), First: i, Last: 2*n - i})
	}
	l := Place(bufs, nil)
	if l.Total != l.Bound || l.Order != nil {
		t.Errorf("arena %d, bound %d", l.Total, l.Bound)
	}
}

func BenchmarkPlaceLongChain(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	var bufs []Buffer
	for i := range 40000 {
		bufs = append(bufs, Buffer{Size: 64 * (1 + r.IntN(64)), First: i, Last: i + 1 + r.IntN(4)})
	}
	var l Layout
	for b.Loop() {
		l = Place(bufs, nil)
	}
	b.ReportMetric(float64(l.Total)/float64(l.Bound), "arena/bound")
}
