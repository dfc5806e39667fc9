package tune

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the processor time that this thread has had: where one thread
// computes it tells the time of a run even if others compete for the processor.
func threadTime() (time.Duration, bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
