package mmap

import (
	"testing"
	"unsafe"
)

func TestArena(t *testing.T) {
	before := InUse()
	var a Arena
	var all [][]byte
	total := 0
	for round := range 3 {
		for _, n := range []int{0, 1, leastShare, minMapped - 1, minMapped, minMapped + 13, HugePage + 1, mostOfSlab, mostOfSlab + 1, 3 * leastShare} {
			b := a.Alloc(n)
			if len(b) != n || cap(b) != n {
				t.Fatalf("Alloc(%d) gives %d bytes of %d", n, len(b), cap(b))
			}
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(b))); n > 0 && at%Align != 0 {
				t.Errorf("Alloc(%d) is at %#x, not aligned to %d", n, at, Align)
			}
			for i, x := range b {
				if x != 0 {
					t.Fatalf("round %d: byte %d of %d is %d", round, i, n, x)
				}
			}
			for i := range b {
				b[i] = byte(len(all) + 1)
			}
			all, total = append(all, b), total+n
		}
	}
	for i, b := range all {
		for _, x := range b {
			if x != byte(i+1) {
				t.Fatalf("buffer %d was written over: %d", i, x)
			}
		}
	}
	if n := InUse() - before; n > int64(total) {
		t.Errorf("%d bytes in use, %d were asked for", n, total)
	}
	a.Free()
	if n := InUse(); n != before {
		t.Errorf("%d bytes in use after Free, %d before", n, before)
	}
	a.Free()
}
