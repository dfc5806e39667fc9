//go:build linux || darwin

package testkit

import (
	"syscall"
	"time"
)

// Clock is the processor time that this process has had. A bound on what a test
// may take is kept with it on a machine that does something else meanwhile.
func Clock() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // only for arguments that are wrong
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
