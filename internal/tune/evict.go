package tune

import (
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

// evictor fills the threads' second-level caches with other data.
type evictor struct {
	pool  *pool.Pool
	data  *mmap.Buffer
	parts int
	sums  []byte // one a cache line
	clock clock
}

// newEvictor makes one for a pool.
func newEvictor(p *pool.Pool, c clock) *evictor {
	e := &evictor{pool: p, clock: c, parts: 4 * p.Threads()}
	e.data = mmap.Alloc(2 * p.Threads() * cpu.Cache().L2)
	e.sums = make([]byte, e.parts*lineBytes)
	return e
}

const lineBytes = 64

// Do reads a part of the data.
func (e *evictor) Do(i int) {
	b := e.data.Bytes()
	sum := byte(0)
	for at := i * len(b) / e.parts; at < (i+1)*len(b)/e.parts; at += lineBytes {
		sum += b[at]
	}
	e.sums[i*lineBytes] = sum
}

// time runs a step once, with its weights out of the second-level cache and its
// operands just written.
func (e *evictor) time(x *exec.Isolated, a *exec.Alternative) (time.Duration, error) {
	e.pool.Run(e.parts, e)
	x.Refresh()
	return e.clock.time(a.Run)
}

func (e *evictor) close() { e.data.Free() }
