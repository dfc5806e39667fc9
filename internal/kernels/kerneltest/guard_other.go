//go:build !linux

package kerneltest

import "testing"

// Guarded gives n zero bytes; only Linux has them before memory that can't be touched.
func Guarded(t testing.TB, n int) []byte { return make([]byte, n) }
