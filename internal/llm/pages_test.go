package llm

import (
	"testing"

	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/mmap"
)

// Pages of caches are made after the first step, and ahead of what is used, but not for
// long; what they hold stays.
func TestPages(t *testing.T) {
	const blocks = 3 * mmap.HugePage / 256 // of 64 bytes a token
	var p pages
	for range 2 {
		b := mmap.Alloc(3*mmap.HugePage - 4096)
		defer b.Free()
		p.add(b.Bytes(), blocks)
	}
	p.add(make([]byte, 4096), blocks)
	for i, c := range p.caches {
		c.data[0], c.data[mmap.HugePage] = byte(i+1), byte(i+7)
	}
	slots := blocks * kv.BlockTokens
	for _, step := range []struct {
		last, made int // slot, pages of all caches
	}{
		{-1, 0}, {0, 2}, {slots / 6, 0}, {slots * 5 / 18, 2}, {slots / 3, 0}, {slots - 1, 2}, {slots - 1, 0},
	} {
		p.use(int32(step.last))
		made := 0
		for p.some() {
			made++
		}
		if made != step.made {
			t.Errorf("slots up to %d of %d: %d pages made, expected %d", step.last, slots, made, step.made)
		}
	}
	for i, c := range p.caches {
		if c.data[0] != byte(i+1) || c.data[mmap.HugePage] != byte(i+7) {
			t.Errorf("cache %d has lost what it held", i)
		}
	}
	if len(p.caches) != 2 {
		t.Errorf("%d caches have pages made, expected 2: one is small", len(p.caches))
	}
}
