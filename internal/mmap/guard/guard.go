// Package guard makes buffers for tests of kernels: an access beyond either end
// that touches another page faults at once.
package guard

import (
	"testing"
	"unsafe"
)

// Side is the end of the buffer that lies against an inaccessible page.
type Side int

const (
	End Side = iota
	Start
)

// Slice makes n zeroed elements that end (or start) exactly at an inaccessible
// page. Where the system can't protect pages it is an ordinary slice.
func Slice[T any](t testing.TB, n int, side Side) []T {
	t.Helper()
	var z T
	size := int(unsafe.Sizeof(z))
	b := region(t, n*size, side)
	if n == 0 {
		return []T{}
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Copy is Slice with the elements of s.
func Copy[T any](t testing.TB, s []T, side Side) []T {
	t.Helper()
	out := Slice[T](t, len(s), side)
	copy(out, s)
	return out
}
