package tune

import (
	"runtime"
	"time"
)

// clock times what runs on some threads.
type clock struct{ processor bool }

// newClock locks the goroutine to its thread if that alone computes; release
// undoes it.
func newClock(threads int) (c clock, release func()) {
	if _, ok := threadTime(); !ok || threads > 1 {
		return clock{}, func() {}
	}
	runtime.LockOSThread()
	return clock{true}, runtime.UnlockOSThread
}

// time runs f.
func (c clock) time(f func() error) (time.Duration, error) {
	if !c.processor {
		start := time.Now()
		err := f()
		return time.Since(start), err
	}
	start, _ := threadTime()
	err := f()
	end, _ := threadTime()
	return end - start, err
}
