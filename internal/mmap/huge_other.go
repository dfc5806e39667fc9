//go:build unix && !linux && !aix && !solaris && !illumos

package mmap

// adviseHuge: only Linux takes the advice.
func adviseHuge([]byte) {}
