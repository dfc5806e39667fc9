package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a flag's number of bytes, such as 1048576, 64MiB or 1GB.
type size int64

// sizeUnits are the units, longest names first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// String writes the largest binary unit that divides the size.
func (s *size) String() string {
	for _, u := range sizeUnits[:3] {
		if *s > 0 && int64(*s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(*s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// about writes a number of bytes for people, rounded.
func about(n int64) string {
	for _, u := range sizeUnits[:3] {
		if n >= u.bytes {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.bytes), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// Set reads a size.
func (s *size) Set(text string) error {
	number, unit := text, int64(1)
	for _, u := range sizeUnits {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, unit = n, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/unit {
		return fmt.Errorf("expected a number of bytes above 0, such as 67108864 or 64MiB")
	}
	*s = size(n * unit)
	return nil
}

// Type is what help calls such a value.
func (s *size) Type() string { return "size" }
