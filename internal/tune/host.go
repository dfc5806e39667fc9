package tune

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/salver-ml/salver/internal/cpu"
)

// Host is what timings hold for.
type Host struct {
	CPU     string `json:"cpu"`
	ISA     string `json:"isa"`
	Program string `json:"program"` // its version
}

// ThisHost describes this machine and program.
func ThisHost() Host {
	c := cpu.Cache()
	return Host{CPU: fmt.Sprintf("%s, caches %d/%d KiB", processor(), c.L1d>>10, c.L2>>10), ISA: cpu.ISA(), Program: program()}
}

// module is the path of this module.
const module = "github.com/salver-ml/salver"

// program is the version of this module that the program was built from.
func program() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version := info.Main.Version
	for _, d := range info.Deps {
		if d.Path == module {
			version = d.Version
		}
	}
	if version == "" {
		return "(devel)"
	}
	return version
}

// processor is the processor's name with the numbers that tell generations
// apart, where the system gives them.
func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	defer f.Close()
	var parts []string
	for s := bufio.NewScanner(f); s.Scan(); {
		name, value, ok := strings.Cut(s.Text(), ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok && len(parts) > 0 {
			break // the next processor
		}
		switch name {
		case "model name", "CPU implementer":
			parts = append([]string{value}, parts...)
		case "cpu family", "model", "stepping", "CPU part":
			parts = append(parts, name+" "+value)
		}
	}
	if len(parts) == 0 {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	return strings.Join(parts, ", ")
}

// differs says in what another host is not this one, or "".
func (h Host) differs(other Host) string {
	switch {
	case h.CPU != other.CPU:
		return fmt.Sprintf("it was measured on the processor %q, this one is %q", other.CPU, h.CPU)
	case h.ISA != other.ISA:
		return fmt.Sprintf("it was measured with kernels for %s, this process uses those for %s", other.ISA, h.ISA)
	case h.Program != other.Program:
		return fmt.Sprintf("it was measured by salver %s, this is %s", other.Program, h.Program)
	}
	return ""
}

// DefaultFile is where the cache is without another wish: salver/tuning.json in
// the user's folder for caches ($XDG_CACHE_HOME).
func DefaultFile() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no folder for caches: %w", err)
	}
	return filepath.Join(dir, "salver", "tuning.json"), nil
}
