package pool

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// count counts how often each chunk was done.
type count struct{ seen []atomic.Int32 }

func (c *count) Do(i int) { c.seen[i].Add(1) }

func (c *count) check(t *testing.T, want int32) {
	t.Helper()
	for i := range c.seen {
		if got := c.seen[i].Load(); got != want {
			t.Fatalf("chunk %d of %d was done %d times, want %d", i, len(c.seen), got, want)
		}
	}
}

func TestRunDoesEachChunkOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := New(threads)
		if p.Threads() != threads {
			t.Fatalf("Threads() = %d, want %d", p.Threads(), threads)
		}
		for _, begun := range []bool{false, true} {
			if begun {
				p.Begin()
			}
			for _, n := range []int{0, 1, 2, 3, 17, 1000} {
				c := &count{make([]atomic.Int32, n)}
				for range 10 {
					p.Run(n, c)
					p.RunFromEnds(n, c)
				}
				c.check(t, 20)
			}
			if begun {
				p.End()
			}
		}
		p.Close()
	}
}

func TestNilPoolRunsSerially(t *testing.T) {
	var p *Pool
	c := &count{make([]atomic.Int32, 5)}
	p.Begin()
	p.Run(5, c)
	p.End()
	p.Close()
	c.check(t, 1)
	if p.Threads() != 1 {
		t.Errorf("Threads() = %d, want 1", p.Threads())
	}
}

func TestRunAfterClose(t *testing.T) {
	p := New(4)
	p.Close()
	c := &count{make([]atomic.Int32, 50)}
	p.Run(50, c)
	c.check(t, 1)
}

func TestManyCallers(t *testing.T) {
	p := New(3)
	defer p.Close()
	var callers sync.WaitGroup
	for g := range 2 * maxJobs { // more than there are jobs
		callers.Go(func() {
			c := &count{make([]atomic.Int32, 1+g%7)}
			for range 100 {
				p.Begin()
				p.Run(len(c.seen), c)
				p.End()
			}
			c.check(t, 100)
		})
	}
	callers.Wait()
}

// nested runs a task from each of its chunks.
type nested struct {
	pool  *Pool
	inner []*count
}

func (n *nested) Do(i int) { n.pool.Run(len(n.inner[i].seen), n.inner[i]) }

func TestNestedRun(t *testing.T) {
	p := New(4)
	defer p.Close()
	p.Begin()
	defer p.End()
	n := &nested{pool: p}
	for range 9 {
		n.inner = append(n.inner, &count{make([]atomic.Int32, 5)})
	}
	for range 200 {
		p.Run(len(n.inner), n)
	}
	for _, c := range n.inner {
		c.check(t, 200)
	}
}

var errChunk = errors.New("chunk 3 fails")

type failing struct{ count }

func (f *failing) Do(i int) {
	f.count.Do(i)
	if i == 3 {
		panic(errChunk)
	}
}

func TestPanicReachesTheCaller(t *testing.T) {
	p := New(3)
	defer p.Close()
	for range 100 {
		f := &failing{count{make([]atomic.Int32, 10)}}
		func() {
			defer func() {
				fault, ok := recover().(*Panic)
				if !ok || !errors.Is(fault, errChunk) || len(fault.Stack) == 0 {
					t.Fatalf("recovered %v, want a *Panic around %v", fault, errChunk)
				}
			}()
			p.Run(10, f)
		}()
		f.check(t, 1)
	}
	c := &count{make([]atomic.Int32, 10)}
	p.Run(10, c)
	c.check(t, 1)
}

// slow gives workers time to join in, and callers a reason to sleep.
type slow struct{ d time.Duration }

func (s *slow) Do(int) { time.Sleep(s.d) }

func TestCallerSleepsForSlowChunks(t *testing.T) {
	p := New(2)
	defer p.Close()
	p.Begin()
	defer p.End()
	for range 20 {
		p.Run(3, &slow{2 * time.Millisecond})
	}
}

func TestWorkersParkBetweenGraphs(t *testing.T) {
	p := New(4)
	defer p.Close()
	p.Keep() // for the next, but not for long
	defer p.Release()
	p.Begin()
	p.Run(8, &slow{time.Millisecond})
	p.End()
	for deadline := time.Now().Add(30 * time.Second); p.parked.Load() != 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d workers parked after End, want 3", p.parked.Load())
		}
	}
}

// TestOversubscribed runs a chain of small operators while every processor is
// taken by goroutines that never yield on their own.
func TestOversubscribed(t *testing.T) {
	p := New(runtime.GOMAXPROCS(0) + 2)
	defer p.Close()
	var stop atomic.Bool
	var burners sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		burners.Go(func() {
			for !stop.Load() {
			}
		})
	}
	c := &count{make([]atomic.Int32, 16)}
	start := time.Now()
	p.Begin()
	for range 300 {
		p.Run(len(c.seen), c)
	}
	p.End()
	stop.Store(true)
	burners.Wait()
	c.check(t, 300)
	// The caller can finish alone. What it may wait for is a worker that was
	// descheduled within a chunk, which is rare for chunks this small.
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("300 operators took %v", d)
	} else {
		t.Logf("300 operators of 16 chunks took %v", d)
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	p := New(2)
	defer p.Close()
	c := &count{make([]atomic.Int32, 4)}
	if n := testing.AllocsPerRun(100, func() { p.Begin(); p.Run(4, c); p.End() }); n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}

// burn is a chunk of roughly fixed time.
type burn struct {
	n int
	_ line
}

func (b *burn) Do(int) {
	for range b.n {
		pause()
	}
}

func BenchmarkRun(b *testing.B) {
	for _, bb := range []struct {
		name    string
		threads int
		spins   int
		begun   bool
	}{
		{"empty/threads=1", 1, 0, true},
		{"empty/threads=2", 2, 0, true},
		{"empty/threads=2/parked", 2, 0, false},
		{"5us/threads=1", 1, 100, true},
		{"5us/threads=2", 2, 100, true},
		{"5us/threads=2/parked", 2, 100, false},
	} {
		b.Run(bb.name, func(b *testing.B) {
			p := New(bb.threads)
			defer p.Close()
			if bb.begun {
				p.Begin()
				defer p.End()
			}
			t := &burn{n: bb.spins}
			b.ReportAllocs()
			for b.Loop() {
				p.Run(2, t)
			}
		})
	}
}

// order notes the order of chunks, the first of which waits for another to begin.
type order struct {
	begun atomic.Int32
	mu    sync.Mutex
	done  []int
}

func (o *order) Do(i int) {
	o.mu.Lock()
	o.done = append(o.done, i)
	o.mu.Unlock()
	o.begun.Add(1)
	for deadline := time.Now().Add(30 * time.Second); o.begun.Load() < 2 && time.Now().Before(deadline); {
		pause()
	}
}

// From the ends, the first two chunks that begin are the first and the last.
func TestRunFromEnds(t *testing.T) {
	p := New(2)
	defer p.Close()
	p.Begin()
	defer p.End()
	o := &order{}
	p.RunFromEnds(9, o)
	if first := o.done[:2]; first[0]+first[1] != 8 {
		t.Errorf("chunks were done in the order %v, expected 0 and 8 first", o.done)
	}
}
