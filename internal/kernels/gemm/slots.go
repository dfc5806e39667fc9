package gemm

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// slots are the workspaces of the threads that do a task's chunks at once. A
// chunk takes a free one: there are as many as threads, or as chunks.
type slots struct {
	free   atomic.Uint64
	spaces []workspace
}

// maxSlots is the size of the free set; a task never has more chunks in
// progress than that.
const maxSlots = 64

// A workspace is what a chunk needs. It is not on the stack since kernels are
// called through variables, which makes arguments escape.
type workspace struct {
	tile    tile
	final   uint64 // flags of the last block of K
	scratch []float32

	// where the batch item begins; in B packed, its number
	aOff, bOff, cOff, resOff, colOff, rowOff int

	_ [128]byte // no false sharing with the next
}

// grow makes n slots, all of them free.
func (s *slots) grow(n int) {
	if len(s.spaces) < n {
		s.spaces = make([]workspace, n)
	}
	s.free.Store(^uint64(0) >> (maxSlots - n))
}

func (s *slots) take() int {
	for {
		free := s.free.Load()
		if free == 0 {
			// Only with more than maxSlots threads.
			runtime.Gosched()
			continue
		}
		i := bits.TrailingZeros64(free)
		if s.free.CompareAndSwap(free, free&^(1<<i)) {
			return i
		}
	}
}

func (s *slots) give(i int) { s.free.Or(1 << i) }

// alignment is how many elements to skip for a cache line boundary.
func alignment(s []float32) int {
	return int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))&(lineBytes-1)) / 4
}

const lineBytes = 64
