package model

// Scratch is the memory that encoding works in. It is not safe for concurrent use.
type Scratch struct {
	ids   []int32
	out   []int32
	loose []string
	ranks []uint32
	next  []int32
	prev  []int32
	heap  []candidate
	path  []step
}

// candidate is a merge that may be done: of the symbol at pos and the one after it.
type candidate struct {
	order       uint64 // rank<<32 | pos
	left, right int32
	id          int32
}

// short is the number of symbols up to which looking at all of them to find the
// best merge is quicker than a heap.
const short = 48

const noRank = 1<<32 - 1

// arity is the number of children in the heap: four reach less memory than two.
const arity = 4

// merge merges s.ids in place.
func (b *BPE) merge(s *Scratch) {
	switch {
	case len(s.ids) < 2:
	case len(s.ids) <= short:
		b.mergeShort(s)
	default:
		b.mergeLong(s)
	}
}

func (b *BPE) mergeShort(s *Scratch) {
	ids := s.ids
	s.ranks = s.ranks[:0]
	for i := range len(ids) - 1 {
		s.ranks = append(s.ranks, b.rank(ids[i], ids[i+1]))
	}
	ranks := s.ranks
	for {
		at, best := -1, uint32(noRank)
		for i, r := range ranks {
			if r < best {
				at, best = i, r
			}
		}
		if at < 0 {
			s.ids = ids
			return
		}
		ids[at] = b.pairs.find(ids[at], ids[at+1]).id
		copy(ids[at+1:], ids[at+2:])
		copy(ranks[at:], ranks[at+1:])
		ids, ranks = ids[:len(ids)-1], ranks[:len(ranks)-1]
		if at > 0 {
			ranks[at-1] = b.rank(ids[at-1], ids[at])
		}
		if at < len(ranks) {
			ranks[at] = b.rank(ids[at], ids[at+1])
		}
	}
}

func (b *BPE) rank(left, right int32) uint32 {
	if p := b.pairs.find(left, right); p.key != 0 {
		return p.rank
	}
	return noRank
}

// mergeLong keeps the symbols in a linked list and the merges in a heap, so that
// its time grows as n·log n.
func (b *BPE) mergeLong(s *Scratch) {
	n := len(s.ids)
	s.next, s.prev, s.heap = s.next[:0], s.prev[:0], s.heap[:0]
	for i := range n {
		s.next = append(s.next, int32(i+1))
		s.prev = append(s.prev, int32(i-1))
	}
	for i := range n - 1 {
		if c, ok := b.candidate(s, int32(i)); ok {
			s.heap = append(s.heap, c)
		}
	}
	for i := len(s.heap) / arity; i >= 0; i-- {
		s.down(i)
	}
	const gone = -1 << 31
	for len(s.heap) > 0 {
		c := s.pop()
		at := int32(uint32(c.order))
		right := s.next[at]
		if s.ids[at] != c.left || int(right) >= n || s.ids[right] != c.right {
			continue // one of the two was merged with another meanwhile
		}
		s.ids[at], s.ids[right] = c.id, gone
		after := s.next[right]
		s.next[at] = after
		if int(after) < n {
			s.prev[after] = at
			b.push(s, at)
		}
		if before := s.prev[at]; before >= 0 {
			b.push(s, before)
		}
	}
	out := s.ids[:0]
	for i := int32(0); int(i) < n; i = s.next[i] {
		out = append(out, s.ids[i])
	}
	s.ids = out
}

// candidate gives the merge of the symbol at pos with the next one, if there is one.
func (b *BPE) candidate(s *Scratch, pos int32) (candidate, bool) {
	left, right := s.ids[pos], s.ids[s.next[pos]]
	p := b.pairs.find(left, right)
	return candidate{uint64(p.rank)<<32 | uint64(uint32(pos)), left, right, p.id}, p.key != 0
}

func (b *BPE) push(s *Scratch, pos int32) {
	c, ok := b.candidate(s, pos)
	if !ok {
		return
	}
	s.heap = append(s.heap, c)
	for i := len(s.heap) - 1; i > 0; {
		up := (i - 1) / arity
		if s.heap[up].order <= s.heap[i].order {
			return
		}
		s.heap[up], s.heap[i] = s.heap[i], s.heap[up]
		i = up
	}
}

func (s *Scratch) pop() candidate {
	top, last := s.heap[0], len(s.heap)-1
	s.heap[0] = s.heap[last]
	s.heap = s.heap[:last]
	s.down(0)
	return top
}

func (s *Scratch) down(i int) {
	h := s.heap
	for {
		least := i
		for child := arity*i + 1; child <= arity*i+arity && child < len(h); child++ {
			if h[child].order < h[least].order {
				least = child
			}
		}
		if least == i {
			return
		}
		h[least], h[i] = h[i], h[least]
		i = least
	}
}

// Size is the number of symbols that s holds memory for.
func (s *Scratch) Size() int { return max(cap(s.ids), cap(s.path)) }
