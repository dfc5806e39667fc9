package serve

import (
	"context"
	"sync"
	"sync/atomic"
)

// gate counts those who are inside, and can be closed: then nobody enters any
// more, and empty is closed when the last one has left. The zero value is open.
type gate struct {
	n     atomic.Int64 // inside, plus closedBit
	once  sync.Once
	setup sync.Once
	empty chan struct{}
}

const closedBit = 1 << 62

// enter reports whether the gate is open; each success needs a leave.
func (g *gate) enter() bool {
	if g.n.Add(1)&closedBit == 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.n.Add(-1) == closedBit {
		g.once.Do(func() { close(g.done()) })
	}
}

// shut closes the gate and returns a channel that is closed once it is empty.
func (g *gate) shut() <-chan struct{} {
	if g.n.Or(closedBit) == 0 {
		g.once.Do(func() { close(g.done()) })
	}
	return g.done()
}

func (g *gate) done() chan struct{} {
	g.setup.Do(func() { g.empty = make(chan struct{}) })
	return g.empty
}

func (g *gate) isShut() bool { return g.n.Load()&closedBit != 0 }

// inside is how many have entered and not left.
func (g *gate) inside() int64 { return g.n.Load() &^ closedBit }

// wait blocks until the channel of shut is closed, or ctx is done.
func wait(ctx context.Context, empty <-chan struct{}) error {
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
