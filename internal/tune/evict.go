package tune

import (
	"time"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/pool"
)

// evictor fills caches with other data: the threads' second-level ones, and for models that
// don't fit into the third-level one that too, since their weights come from memory in
// every run.
type evictor struct {
	pool  *pool.Pool
	data  *mmap.Buffer
	parts int
	sums  []byte // one a cache line
	clock clock
}

// newEvictor makes one for a pool and a model that takes so many bytes.
func newEvictor(p *pool.Pool, c clock, modelBytes int64) *evictor {
	e := &evictor{pool: p, clock: c, parts: 4 * p.Threads()}
	caches := cpu.Cache()
	size := 2 * p.Threads() * caches.L2
	if modelBytes > int64(caches.L3) {
		size = max(size, caches.L3/2*3)
	}
	e.data = mmap.Alloc(size)
	for b := e.data.Bytes(); len(b) > 0; b = b[min(pageBytes, len(b)):] {
		b[0] = 1 // what is never written is one page of zeros
	}
	e.sums = make([]byte, e.parts*lineBytes)
	return e
}

const (
	lineBytes = 64
	pageBytes = 4 << 10
)

// Do reads a part of the data.
func (e *evictor) Do(i int) {
	b := e.data.Bytes()
	sum := byte(0)
	for at := i * len(b) / e.parts; at < (i+1)*len(b)/e.parts; at += lineBytes {
		sum += b[at]
	}
	e.sums[i*lineBytes] = sum
}

// time runs a step once, with its weights out of these caches and its operands just written.
func (e *evictor) time(x *exec.Isolated, a *exec.Alternative) (time.Duration, error) {
	e.pool.Run(e.parts, e)
	x.Refresh()
	return e.clock.time(a.Run)
}

func (e *evictor) close() { e.data.Free() }
