package cpu

import (
	"math"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// physicalMemory is the machine's memory in bytes.
func physicalMemory() int64 {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return 0
	}
	return int64(uint64(s.Totalram) * uint64(s.Unit))
}

// addressSpace is what the process may still map, in bytes; 0 where there is no limit.
func addressSpace(read readFile) int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_AS, &limit); err != nil || limit.Cur > math.MaxInt64 {
		return 0
	}
	text, err := read("/proc/self/statm") // its first number is the size in pages
	if err != nil {
		return int64(limit.Cur)
	}
	first, _, _ := strings.Cut(string(text), " ")
	pages, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return int64(limit.Cur)
	}
	return max(1, int64(limit.Cur)-pages*int64(os.Getpagesize()))
}
