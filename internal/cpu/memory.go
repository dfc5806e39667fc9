package cpu

import (
	"os"
	"path"
	"strconv"
	"strings"
)

// Memory is how many bytes this process may use, and what says so: the least of
// the machine's memory, its control group's limit and what is left of its
// address space (ulimit -v). It is 0 where the system does not tell.
func Memory() (bytes int64, of string) {
	group, _ := cgroupMemory(os.ReadFile)
	for _, l := range []struct {
		bytes int64
		of    string
	}{{physicalMemory(), "machine"}, {int64(group), "control group"}, {addressSpace(os.ReadFile), "address space"}} {
		if l.bytes > 0 && (bytes == 0 || l.bytes < bytes) {
			bytes, of = l.bytes, l.of
		}
	}
	return bytes, of
}

// cgroupMemory is the smallest memory limit, in bytes, of the process's control
// group and those above it (cgroup v2's memory.max and memory.high, v1's
// memory.limit_in_bytes).
func cgroupMemory(read readFile) (bytes float64, ok bool) {
	return cgroupLeast("memory", "memory.limit_in_bytes", memoryV2, memoryV1, read)
}

func memoryV2(dir string, read readFile) float64 {
	most, ok := least(0, false, sizeIn(path.Join(dir, "memory.max"), read))
	most, _ = least(most, ok, sizeIn(path.Join(dir, "memory.high"), read))
	return most
}

func memoryV1(dir string, read readFile) float64 {
	return sizeIn(path.Join(dir, "memory.limit_in_bytes"), read)
}

// sizeIn is the number in a file; 0 where there is none, such as "max".
func sizeIn(name string, read readFile) float64 {
	b, err := read(name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || n == 1<<63-1 {
		return 0
	}
	return float64(n)
}
