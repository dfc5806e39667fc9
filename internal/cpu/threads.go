package cpu

import (
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// Threads is the number of compute threads this process should use: the CPUs
// in its affinity mask (at the start of the process), and no more than its
// control group's quota.
func Threads() int { return threads() }

var threads = sync.OnceValue(func() int {
	n := runtime.NumCPU()
	if quota, ok := cgroupQuota(os.ReadFile); ok {
		// Rounded down: a group that spends more than its quota is stopped for
		// the rest of the period, with all its threads.
		n = min(n, int(quota))
	}
	return max(n, 1)
})

type readFile func(name string) ([]byte, error)

// cgroupQuota is the smallest CPU quota, in CPUs, of the process's control
// group and those above it (cgroup v2's cpu.max, v1's cpu.cfs_quota_us).
func cgroupQuota(read readFile) (cpus float64, ok bool) {
	return cgroupLeast("cpu", "cpu.cfs_quota_us", quotaV2, quotaV1, read)
}

// cgroupLeast is the smallest limit of the process's control group and those
// above it: v2 reads one of cgroup v2's, v1 one of the controller's in v1, whose
// root has the file probe.
func cgroupLeast(controller, probe string, v2, v1 limitOf, read readFile) (limit float64, ok bool) {
	lines, err := read("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(lines)) {
		// hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[1] == "":
			limit, ok = least(limit, ok, walkUp("/sys/fs/cgroup", f[2], v2, read))
		case hasController(f[1], controller):
			root := path.Join("/sys/fs/cgroup", f[1])
			if _, err := read(path.Join(root, probe)); err != nil {
				root = path.Join("/sys/fs/cgroup", controller)
			}
			limit, ok = least(limit, ok, walkUp(root, f[2], v1, read))
		}
	}
	return limit, ok
}

// limitOf reads the limit of the group in a directory; 0 where it has none.
type limitOf func(dir string, read readFile) float64

func hasController(list, want string) bool {
	for c := range strings.SplitSeq(list, ",") {
		if c == want {
			return true
		}
	}
	return false
}

func least(a float64, ok bool, b float64) (float64, bool) {
	if b <= 0 {
		return a, ok
	}
	if !ok {
		return b, true
	}
	return min(a, b), true
}

// walkUp is the smallest limit of group and its ancestors, 0 where none has
// one. In a container group may not exist below root; its ancestors still do.
func walkUp(root, group string, limit limitOf, read readFile) float64 {
	var all float64
	var ok bool
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		all, ok = least(all, ok, limit(path.Join(root, dir), read))
		if dir == "/" {
			return all
		}
	}
}

// quotaV2 reads "QUOTA PERIOD" or "max PERIOD".
func quotaV2(dir string, read readFile) float64 {
	b, err := read(path.Join(dir, "cpu.max"))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) != 2 {
		return 0
	}
	return ratio(f[0], f[1])
}

// quotaV1 reads two files; a quota of -1 means none.
func quotaV1(dir string, read readFile) float64 {
	q, err := read(path.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return 0
	}
	p, err := read(path.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return 0
	}
	return ratio(strings.TrimSpace(string(q)), strings.TrimSpace(string(p)))
}

func ratio(quota, period string) float64 {
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil || q <= 0 {
		return 0
	}
	p, err := strconv.ParseFloat(period, 64)
	if err != nil || p <= 0 {
		return 0
	}
	return q / p
}
