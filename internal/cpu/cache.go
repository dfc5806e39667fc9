package cpu

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Caches are data cache sizes in bytes as seen by one core.
type Caches struct {
	L1d, L2 int
	L3      int // which cores share; 0 where there is none or the system doesn't say
}

// Cache is read from the system, with the sizes of a small core where it
// doesn't say. Kernels choose block sizes along rows and columns by it; never
// along K, since the order of a reduction doesn't depend on the machine.
func Cache() Caches { return caches() }

var caches = sync.OnceValue(func() Caches {
	return readCaches("/sys/devices/system/cpu/cpu0/cache")
})

func readCaches(dir string) Caches {
	c := Caches{L1d: 32 << 10, L2: 512 << 10}
	entries, err := filepath.Glob(filepath.Join(dir, "index*"))
	if err != nil {
		return c
	}
	for _, e := range entries {
		size := parseSize(readLine(e, "size"))
		if size <= 0 || readLine(e, "type") == "Instruction" {
			continue
		}
		switch readLine(e, "level") {
		case "1":
			c.L1d = size
		case "2":
			c.L2 = size
		case "3":
			c.L3 = size
		}
	}
	return c
}

func readLine(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// parseSize reads sysfs sizes such as "48K".
func parseSize(s string) int {
	unit := 1
	if t, ok := strings.CutSuffix(s, "K"); ok {
		s, unit = t, 1<<10
	} else if t, ok := strings.CutSuffix(s, "M"); ok {
		s, unit = t, 1<<20
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n * unit
}
