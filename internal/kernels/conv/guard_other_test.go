//go:build !linux

package conv

import "testing"

// guarded hands out ordinary buffers where pages can't be protected.
type guarded struct{}

func newGuarded(testing.TB) *guarded { return &guarded{} }

func (g *guarded) floats(n int) []float32 { return make([]float32, n) }

func (g *guarded) free() {}
