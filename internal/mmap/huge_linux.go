package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adviseHuge asks for transparent huge pages, which many systems give only on
// request. Without them everything works, slower.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

// SmallPages has the system give small pages for b, of which a little is used at first:
// of a huge page all is cleared when it is first touched.
func SmallPages(b []byte) { _ = unix.Madvise(b, unix.MADV_NOHUGEPAGE) }

// HugePages makes huge pages of b, which SmallPages had small; what is there stays.
// Older systems do so in their own time.
func HugePages(b []byte) {
	adviseHuge(b)
	_ = unix.Madvise(b, unix.MADV_COLLAPSE)
}

// dropPages unmaps clean pages of a file; the mapping stays.
func dropPages(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }

// PopulateRead has the system map all pages of b at once, which costs much less than
// finding out about each when it is first read. It is worth it where all of b is
// read soon; some megabytes at a time are still in the caches then.
func PopulateRead(b []byte) { populate(b, unix.MADV_POPULATE_READ) }

// PopulateWrite is PopulateRead for memory that is written. What is there stays.
func PopulateWrite(b []byte) { populate(b, unix.MADV_POPULATE_WRITE) }

// populate advises on whole pages. Older systems don't take the advice.
func populate(b []byte, advice int) {
	before := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (os.Getpagesize() - 1)
	if before < len(b) {
		_ = unix.Madvise(b[before:], advice)
	}
}
