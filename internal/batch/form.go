package batch

import (
	"slices"
	"time"
)

// form takes the next execution out of the queue. It is nil if nothing is
// queued, or if what is queued should wait; then a timer is set. b.mu is held.
func (b *Batcher) form(now time.Time) *execution {
	full := b.pick(now)
	defer func() { clear(b.picked) }()
	if len(b.picked) == 0 {
		return nil
	}
	n, delay := b.cut(full, now)
	if n == 0 {
		b.wakeIn(delay)
		return nil
	}
	e := b.newExecution()
	for _, c := range b.picked[:n] {
		b.unqueue(c)
		c.state.Store(taken)
		e.calls = append(e.calls, c)
	}
	if b.o.PreserveOrdering {
		b.orderMu.Lock()
		b.order = append(b.order, e)
		b.orderMu.Unlock()
	}
	return e
}

// pick fills b.picked with the calls that could run together now, by priority
// and age: the oldest of the highest level and those that it can be joined with.
// full says that a further call did not fit.
func (b *Batcher) pick(now time.Time) (full bool) {
	b.picked = b.picked[:0]
	p := picking{b: b, now: now, looks: 64 + 4*b.o.MaxRows}
	for i := range b.levels {
		l := &b.levels[i]
		if !p.scan(&l.main) || !p.scan(&l.late) {
			break
		}
	}
	return p.full
}

type picking struct {
	b     *Batcher
	now   time.Time
	rows  int
	looks int // calls that may still be looked at, which bounds the time under the lock
	full  bool
}

// scan goes through a list; false ends the picking.
func (p *picking) scan(l *list) bool {
	for c := l.head; c != nil; {
		next := c.next
		if p.alive(c) && !p.take(c) {
			return false
		}
		c = next
	}
	return true
}

// alive ends a call that is canceled or beyond its time in the queue.
func (p *picking) alive(c *Call) bool {
	if err := c.ctx.Err(); err != nil {
		p.b.unqueue(c)
		c.fail(err)
		return false
	}
	l := c.level
	if c.limit == 0 || c.list == &l.late || p.now.Sub(c.start) < c.limit {
		return true
	}
	p.b.unqueue(c)
	if !l.Postpone {
		c.fail(ErrQueueTimeout)
		return false
	}
	l.late.push(c)
	p.b.queued++
	return false
}

// take adds a call if it goes with the others; false ends the picking.
func (p *picking) take(c *Call) bool {
	b := p.b
	p.looks--
	switch {
	case len(b.picked) == 0:
		b.picked = append(b.picked, c)
		p.rows = c.rows
		return c.merges && p.rows < b.o.MaxRows
	case !c.joins(b.picked[0]):
		return !b.o.PreserveOrdering && p.looks > 0
	case p.rows+c.rows > b.o.MaxRows:
		p.full = true
		return false
	}
	b.picked = append(b.picked, c)
	p.rows += c.rows
	return p.rows < b.o.MaxRows && p.looks > 0
}

// cut decides how many of the picked calls run now. If none should yet, delay
// says when to look again.
func (b *Batcher) cut(full bool, now time.Time) (n int, delay time.Duration) {
	total, preferred, sized, oldest := 0, 0, 0, now
	for i, c := range b.picked {
		total += c.rows
		if slices.Contains(b.o.Preferred, total) {
			preferred = i + 1
		}
		if slices.Contains(b.o.Sizes, total) {
			sized = i + 1
		}
		if c.start.Before(oldest) {
			oldest = c.start
		}
	}
	if sized == 0 {
		sized = len(b.picked)
	}
	age := now.Sub(oldest)
	switch {
	case b.o.MaxDelay > 0 && age >= b.o.MaxDelay:
		return sized, 0
	case preferred > 0:
		return preferred, 0
	case b.o.MaxDelay == 0 || full || total >= b.o.MaxRows || !b.picked[0].merges:
		return sized, 0
	}
	return 0, b.o.MaxDelay - age
}
