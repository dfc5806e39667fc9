package conv

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded hands out buffers that end right before a page that faults.
type guarded struct {
	t    testing.TB
	maps [][]byte
}

func newGuarded(t testing.TB) *guarded { return &guarded{t: t} }

func (g *guarded) floats(n int) []float32 {
	g.t.Helper()
	page := unix.Getpagesize()
	size := (n*4+page-1)/page*page + page
	m, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		g.t.Fatal(err)
	}
	g.maps = append(g.maps, m)
	if err := unix.Mprotect(m[size-page:], unix.PROT_NONE); err != nil {
		g.t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&m[size-page-n*4])), n)
}

func (g *guarded) free() {
	for _, m := range g.maps {
		if err := unix.Munmap(m); err != nil {
			g.t.Fatal(err)
		}
	}
}
