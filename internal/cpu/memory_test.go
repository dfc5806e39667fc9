package cpu

import (
	"io/fs"
	"runtime"
	"testing"
)

func TestMemory(t *testing.T) {
	n, of := Memory()
	t.Logf("%d MiB of the %s", n>>20, of)
	if known := runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "windows"; known && n < 16<<20 {
		t.Errorf("%d bytes", n)
	}
}

func TestCgroupMemory(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"no cgroups": {nil, 0},
		"v2 without limit": {map[string]string{
			"/proc/self/cgroup":           "0::/a\n",
			"/sys/fs/cgroup/a/memory.max": "max\n",
		}, 0},
		"v2 ancestor is tighter": {map[string]string{
			"/proc/self/cgroup":             "0::/a/b\n",
			"/sys/fs/cgroup/a/b/memory.max": "4294967296\n",
			"/sys/fs/cgroup/a/memory.max":   "1073741824\n",
		}, 1 << 30},
		"v2 high is tighter": {map[string]string{
			"/proc/self/cgroup":          "0::/\n",
			"/sys/fs/cgroup/memory.max":  "4294967296\n",
			"/sys/fs/cgroup/memory.high": "2147483648\n",
		}, 2 << 30},
		"v1": {map[string]string{
			"/proc/self/cgroup":                              "4:memory:/x\n3:cpu,cpuacct:/x\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes":    "9223372036854771712\n",
			"/sys/fs/cgroup/memory/x/memory.limit_in_bytes":  "536870912\n",
			"/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us":  "300000\n",
			"/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
		}, 512 << 20},
		"garbage": {map[string]string{
			"/proc/self/cgroup":         "0::/\n",
			"/sys/fs/cgroup/memory.max": "lots of it\n",
		}, 0},
	} {
		read := func(name string) ([]byte, error) {
			if s, ok := tt.files[name]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		}
		if got, ok := cgroupMemory(read); got != tt.want || ok != (tt.want > 0) {
			t.Errorf("%s: %v, %v; want %v", name, got, ok, tt.want)
		}
	}
}
