package cli

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// memoryStatus reads a size such as VmRSS or VmHWM from /proc/self/status, in
// bytes; 0 where the system has no such file.
func memoryStatus(key string) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if rest, ok := strings.CutPrefix(sc.Text(), key+":"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}
