//go:build !noasm && !amxemu

package cpu

import (
	"syscall"

	"golang.org/x/sys/cpu"
)

const (
	archPrctl         = 158
	archReqXcompPerm  = 0x1023
	xfeatureXTileData = 18
)

// hasAMX reports whether the processor has the tiles and the system lets this process use them.
func hasAMX() bool {
	x := &cpu.X86
	return x.HasAMXTile && x.HasAMXInt8 && x.HasAMXBF16 && requestAMX()
}

// requestAMX asks the kernel, once per process, for the right to use AMX tile
// registers; a process without it gets SIGILL.
func requestAMX() bool {
	_, _, errno := syscall.RawSyscall(archPrctl, archReqXcompPerm, xfeatureXTileData, 0)
	return errno == 0
}
