package batch

import "time"

// level is the queue of one priority.
type level struct {
	Policy
	main list
	late list // those beyond their timeout, where the policy postpones them
}

func (l *level) n() int { return l.main.n + l.late.n }

// timeout is how long a request may wait that asks for a limit itself (0: it does not).
func (l *level) timeout(asked time.Duration) time.Duration {
	if l.AllowOverride && asked > 0 && (l.Timeout == 0 || asked < l.Timeout) {
		return asked
	}
	return l.Timeout
}

// list is a doubly linked queue of calls, linked through the calls themselves.
type list struct {
	head, tail *Call
	n          int
}

func (l *list) push(c *Call) {
	c.list, c.prev, c.next = l, l.tail, nil
	if l.tail == nil {
		l.head = c
	} else {
		l.tail.next = c
	}
	l.tail = c
	l.n++
}

func (l *list) remove(c *Call) {
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.list, c.prev, c.next = nil, nil, nil
	l.n--
}
