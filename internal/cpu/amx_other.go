//go:build amd64 && !linux && !noasm

package cpu

// requestAMX: AMX is used on Linux only.
func requestAMX() bool { return false }
