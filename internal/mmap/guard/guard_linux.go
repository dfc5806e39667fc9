package guard

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func region(t testing.TB, n int, side Side) []byte {
	t.Helper()
	page := os.Getpagesize()
	inner := (n + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, inner+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal("guard: mmap:", err)
	}
	t.Cleanup(func() { _ = unix.Munmap(m) })
	for _, edge := range [][]byte{m[:page], m[page+inner:]} {
		if err := unix.Mprotect(edge, unix.PROT_NONE); err != nil {
			t.Fatal("guard: mprotect:", err)
		}
	}
	if side == Start {
		return m[page : page+n : page+n]
	}
	return m[page+inner-n : page+inner : page+inner]
}
