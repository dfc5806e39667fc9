package limit

import (
	"errors"
	"sync"
	"testing"
)

func TestRoom(t *testing.T) {
	f := &InFlight{MaxBytes: 10 * Small}
	a, b, c := f.Room(), f.Room(), f.Room()
	for i, step := range []struct {
		of      *Room
		n       int
		ok      bool
		never   bool
		held    int64
		leaving bool
	}{
		{of: &a, n: Small, ok: true, held: 0},
		{of: &a, n: Small, ok: true, held: 2 * Small},
		{of: &b, n: 8 * Small, ok: true, held: 10 * Small},
		{of: &c, n: Small, ok: true, held: 10 * Small},
		{of: &c, n: 1, held: 10 * Small},
		{of: &b, n: 3 * Small, never: true, held: 10 * Small},
		{of: &a, leaving: true, held: 8 * Small},
		{of: &c, n: Small, ok: true, held: 10 * Small},
		{of: &b, leaving: true, held: 2 * Small},
		{of: &c, leaving: true, held: 0},
		{of: &c, n: 100 * Small, ok: true, held: 0}, // it has left, and counts no more
	} {
		if step.leaving {
			step.of.Leave()
		} else if err := step.of.Add(step.n); (err == nil) != step.ok {
			t.Errorf("step %d: %v", i, err)
		} else if full, is := errors.AsType[*FullError](err); is && full.Never() != step.never {
			t.Errorf("step %d: %v", i, err)
		}
		if f.Bytes() != step.held {
			t.Errorf("step %d: %d bytes held, expected %d", i, f.Bytes(), step.held)
		}
	}
	if f.RefusedForBytes() != 2 {
		t.Errorf("%d refused", f.RefusedForBytes())
	}
	var none *InFlight
	for _, r := range []Room{{}, none.Room(), (&InFlight{}).Room()} {
		if err := r.Add(1 << 40); err != nil {
			t.Error(err)
		}
		r.Leave()
	}
}

func TestRoomOfMany(t *testing.T) {
	f := &InFlight{MaxBytes: 4 * Small}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				r := f.Room()
				if r.Add(2*Small) == nil && f.Bytes() < 2*Small {
					t.Error("what is held is not counted")
				}
				r.Leave()
			}
		})
	}
	wg.Wait()
	if f.Bytes() != 0 {
		t.Errorf("%d bytes are left", f.Bytes())
	}
}
