package guard

import (
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"
)

func TestSlice(t *testing.T) {
	for _, n := range []int{0, 1, 7, 1024, 1025, 5000} {
		for _, side := range []Side{End, Start} {
			s := Slice[float32](t, n, side)
			if len(s) != n {
				t.Fatalf("%d elements, want %d", len(s), n)
			}
			for i := range s {
				s[i] = float32(i)
			}
		}
	}
}

func TestBeyondTheEndFaults(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("pages are protected on linux only")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s := Slice[float32](t, 3, End)
	defer func() {
		if recover() == nil {
			t.Error("reading beyond the end did not fault")
		}
	}()
	beyond := *(*float32)(unsafe.Add(unsafe.Pointer(&s[2]), 4))
	t.Error("read", beyond)
}
