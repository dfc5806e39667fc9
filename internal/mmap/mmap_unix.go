//go:build unix && !aix && !solaris && !illumos

package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, n int) ([]byte, bool) {
	b, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ, unix.MAP_SHARED)
	return b, err == nil
}

// mapAnonymous maps n zeroed bytes. A buffer of huge pages is cut out of a
// region one huge page longer; what is not touched costs nothing.
func mapAnonymous(n int) (data, region []byte, ok bool) {
	extra := 0
	if n >= HugePage {
		extra = HugePage
	}
	region, err := unix.Mmap(-1, 0, n+extra, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, false
	}
	if extra == 0 {
		return region, region, true
	}
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(region))) & (HugePage - 1))
	data = region[off : off+n : off+n]
	adviseHuge(data)
	return data, region, true
}

func unmap(b []byte) error { return unix.Munmap(b) }
