package tune

import (
	"testing"
	"testing/synctest"
	"time"
)

// Measuring goes on while a best time becomes shorter, and ends some time after.
func TestSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSettled(2)
		runs := 0
		run := func(which int, took time.Duration) {
			runs++
			s.add(which, took)
			time.Sleep(10 * time.Millisecond)
		}
		for i := range 100 { // one becomes faster all the time
			run(0, time.Millisecond)
			run(1, time.Second/time.Duration(i+1))
			if s.settled() {
				t.Fatalf("settled in round %d while it became faster", i)
			}
		}
		first := runs
		for !s.settled() && runs < 10*first {
			run(0, time.Millisecond)
			run(1, time.Second)
		}
		if runs < 2*s.last || runs > 2*first+2 {
			t.Errorf("settled after %d runs, of which the first %d became faster", runs, s.last)
		}
	})
	synctest.Test(t, func(t *testing.T) { // runs of no time at all aren't enough
		s := newSettled(1)
		for range 1000 {
			s.add(0, time.Microsecond)
		}
		if s.settled() {
			t.Error("settled before there was time for disturbances to pass")
		}
		time.Sleep(settleTime)
		if !s.settled() {
			t.Error("not settled after 1000 equal runs")
		}
	})
}
