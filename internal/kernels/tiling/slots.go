package tiling

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// MaxSlots is how many chunks of a task can be in progress at once.
const MaxSlots = 64

// Slots hands out the numbers of workspaces to the chunks in progress.
type Slots struct{ free atomic.Uint64 }

// Reset makes slots 0 to n-1 free, n at most MaxSlots.
func (s *Slots) Reset(n int) { s.free.Store(^uint64(0) >> (MaxSlots - n)) }

// Take is a free slot. There is one, unless a pool has more than MaxSlots
// threads; then it waits.
func (s *Slots) Take() int {
	for {
		free := s.free.Load()
		if free == 0 {
			runtime.Gosched()
			continue
		}
		i := bits.TrailingZeros64(free)
		if s.free.CompareAndSwap(free, free&^(1<<i)) {
			return i
		}
	}
}

// Give returns a slot.
func (s *Slots) Give(i int) { s.free.Or(1 << i) }
