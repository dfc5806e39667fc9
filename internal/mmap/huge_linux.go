package mmap

import "golang.org/x/sys/unix"

// adviseHuge asks for transparent huge pages, which many systems give only on
// request. Without them everything works, slower.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// dropPages unmaps clean pages of a file; the mapping stays.
func dropPages(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
