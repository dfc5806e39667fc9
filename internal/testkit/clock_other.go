//go:build !linux && !darwin

package testkit

import "time"

var start = time.Now()

// Clock is the time since the process began, where what it had of the processor
// is not known.
func Clock() time.Duration { return time.Since(start) }
