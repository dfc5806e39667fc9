package pool

import (
	"syscall"
	"testing"
	"time"
)

// A graph without workers stays on its thread, however often the scheduler interrupts it.
func TestAloneKeepsThread(t *testing.T) {
	for _, p := range []*Pool{nil, New(1)} {
		p.Begin()
		first := syscall.Gettid()
		for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
			if now := syscall.Gettid(); now != first {
				t.Fatalf("the graph began on thread %d and is on %d", first, now)
			}
		}
		p.End()
	}
}
