//go:build amd64 && !linux && !noasm

package cpu

// hasAMX: AMX is used on Linux only.
func hasAMX() bool { return false }
