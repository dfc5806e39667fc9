//go:build !noasm

package cpu

import "syscall"

const (
	archPrctl         = 158
	archReqXcompPerm  = 0x1023
	xfeatureXTileData = 18
)

// requestAMX asks the kernel, once per process, for the right to use AMX tile
// registers; a process without it gets SIGILL.
func requestAMX() bool {
	_, _, errno := syscall.RawSyscall(archPrctl, archReqXcompPerm, xfeatureXTileData, 0)
	return errno == 0
}
