package cpu

import (
	"io/fs"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	tests := []struct {
		asked   string
		highest Target
		want    Target
		warning string
	}{
		{"", AVX512, AVX512, ""},
		{"generic", AVX512, Generic, ""},
		{"avx2", AVX512, AVX2, ""},
		{"avx512", AVX512, AVX512, ""},
		{"amx", AVX2, AVX2, "SALVER_ISA=amx is not available here, using avx2"},
		{"avx512", Generic, Generic, "using generic"},
		{"sse9", AVX2, AVX2, "not one of generic, avx2, avx512, amx"},
	}
	for _, tt := range tests {
		var warn strings.Builder
		if got := choose(tt.asked, tt.highest, &warn); got != tt.want {
			t.Errorf("choose(%q, %v) = %v, want %v", tt.asked, tt.highest, got, tt.want)
		}
		w := warn.String()
		if tt.warning == "" && w != "" || !strings.Contains(w, tt.warning) || strings.Count(w, "\n") > 1 {
			t.Errorf("choose(%q, %v) warned %q, want %q", tt.asked, tt.highest, w, tt.warning)
		}
	}
}

func TestForce(t *testing.T) {
	before := Level()
	for _, l := range Levels() {
		restore := Force(l)
		if Level() != l || ISA() != l.String() {
			t.Errorf("forced %v, level %v, isa %s", l, Level(), ISA())
		}
		if l < AVX512 && Has().VNNI {
			t.Errorf("VNNI is on at %v", l)
		}
		if l == AMX && !(Has().VNNI && Has().AVX512BF16) {
			t.Errorf("extensions at %v, whose kernels use VNNI and BF16: %+v", l, Has())
		}
		restore()
	}
	if Level() != before {
		t.Errorf("level %v after restore, want %v", Level(), before)
	}
	t.Logf("level %v, %+v, %d threads, caches %+v", Level(), Has(), Threads(), Cache())
}

func TestCgroupQuota(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  float64
		ok    bool
	}{
		{"no cgroups", nil, 0, false},
		{"v2 without limit", map[string]string{
			"/proc/self/cgroup":      "0::/\n",
			"/sys/fs/cgroup/cpu.max": "max 100000\n",
		}, 0, false},
		{"v2 own limit", map[string]string{
			"/proc/self/cgroup":             "0::/a/b\n",
			"/sys/fs/cgroup/a/b/cpu.max":    "250000 100000\n",
			"/sys/fs/cgroup/a/cpu.max":      "max 100000\n",
			"/sys/fs/cgroup/unrelated/file": "",
		}, 2.5, true},
		{"v2 ancestor is tighter", map[string]string{
			"/proc/self/cgroup":          "0::/a/b\n",
			"/sys/fs/cgroup/a/b/cpu.max": "400000 100000\n",
			"/sys/fs/cgroup/a/cpu.max":   "150000 100000\n",
		}, 1.5, true},
		{"v1", map[string]string{
			"/proc/self/cgroup":                                "4:memory:/x\n3:cpu,cpuacct:/x\n",
			"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":      "-1\n",
			"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us":     "100000\n",
			"/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us":    "300000\n",
			"/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us":   "100000\n",
			"/sys/fs/cgroup/cpu,cpuacct/x/y/cpu.cfs_period_us": "100000\n",
		}, 3, true},
		{"v1 under its short name", map[string]string{
			"/proc/self/cgroup":                    "3:cpuacct,cpu:/gone\n",
			"/sys/fs/cgroup/cpu/cpu.cfs_quota_us":  "50000\n",
			"/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		}, 0.5, true},
		{"garbage", map[string]string{
			"/proc/self/cgroup":      "x\n0::/\n",
			"/sys/fs/cgroup/cpu.max": "lots of it\n",
		}, 0, false},
	}
	for _, tt := range tests {
		read := func(name string) ([]byte, error) {
			if s, ok := tt.files[name]; ok {
				return []byte(s), nil
			}
			return nil, fs.ErrNotExist
		}
		if got, ok := cgroupQuota(read); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %v, %v; want %v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int{"48K": 48 << 10, "2048K": 2 << 20, "1M": 1 << 20, "512": 512, "": 0, "big": 0} {
		if got := parseSize(s); got != want {
			t.Errorf("parseSize(%q) = %d, want %d", s, got, want)
		}
	}
}
