//go:build !linux && !darwin && !windows

package cpu

// physicalMemory is not known here.
func physicalMemory() int64 { return 0 }

// addressSpace has no limit here.
func addressSpace(readFile) int64 { return 0 }
