package cpu

import "golang.org/x/sys/unix"

// physicalMemory is the machine's memory in bytes.
func physicalMemory() int64 {
	n, err := unix.SysctlUint64("hw.memsize")
	if err != nil {
		return 0
	}
	return int64(n)
}

// addressSpace has no limit here.
func addressSpace(readFile) int64 { return 0 }
