package paged

import (
	"math"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// A split is a query whose keys several units see, some parts each. The last of them
// to finish joins the parts.
type split struct {
	begin, end int // keys
	row        int // of the first part, in the room for parts
	left       atomic.Int32
}

// part is where a unit of a split writes what its rows have of the part of a key.
func (t *Task) part(u *unit, key int) state {
	s := &t.splits[u.split-1]
	return t.spaces.parts.from(s.row+(key/PartTokens-s.begin/PartTokens)*u.heads*t.group(), t.D)
}

// finish counts a unit of a split off.
func (t *Task) finish(w *workspace, u *unit) {
	s := &t.splits[u.split-1]
	if s.left.Add(-1) > 0 {
		return
	}
	w.all.clear(u.heads*t.group(), t.D, negativeZero)
	for key := s.begin; key < s.end; key = nextPart(key) {
		t.join(w, u, key, t.part(u, key), u.heads)
	}
	t.deliver(w.all, u, u.head, u.heads)
}

// join adds what rows have of the part of a key to what they have of those before. Rows
// that see none of its keys stay as they are.
func (t *Task) join(w *workspace, u *unit, key int, part state, heads int) {
	first, group := u.seq.First+u.row, heads*t.group() // of all heads, as there is one query where they are several
	from, end := max(0, key-first)*group, u.rows*group
	if t.Window > 0 {
		end = min(end, (nextPart(key)+t.Window-1-first)*group)
	}
	if from >= end {
		return
	}
	n := end - from
	all, part := w.all.from(from, t.D), part.from(from, t.D)
	f, g := w.factors[:n], w.weights[:n]
	for r := range n {
		m := max(all.largest[r], part.largest[r])
		f[r], g[r] = all.largest[r]-m, part.largest[r]-m
		all.largest[r] = m
	}
	softmax.ExpSum(f, f, 0)
	softmax.ExpSum(g, g, 0)
	for r := range n {
		all.l[r] = float32(all.l[r]*f[r]) + float32(part.l[r]*g[r])
	}
	current().join(all.o, part.o, f, g, t.D)
}

// cutKeys makes units of a query: pieces of its keys and of its heads, where the steps'
// queries are too few or too long for each to be one.
func (t *Task) cutKeys(u unit, c keyCut) {
	pieces := tiling.Ceil(u.end-u.begin/PartTokens*PartTokens, c.keys)
	begin, end := u.begin, u.end
	for u.head = 0; u.head < t.KVHeads; u.head += c.heads {
		u.heads, u.split = min(c.heads, t.KVHeads-u.head), 0
		if pieces > 1 {
			t.splits = append(t.splits, split{begin: begin, end: end, row: t.partRows})
			u.split = len(t.splits)
			t.splits[u.split-1].left.Store(int32(pieces))
			t.partRows += (nextPart(end-1)/PartTokens - begin/PartTokens) * u.heads * t.group()
		}
		for u.begin = begin; u.begin < end; u.begin = u.end {
			u.end = min(end, u.begin/PartTokens*PartTokens+c.keys)
			t.units = append(t.units, u)
		}
	}
}

// A keyCut is how many keys and heads of single queries units have, at most.
type keyCut struct{ keys, heads int }

// keyCut chooses them so that each of the threads has enough to do: units of all keys where
// there are enough of these, since what a unit reads first nobody has fetched.
func (t *Task) keyCut(threads int) keyCut {
	keys, longest, n := 0, 0, 0
	t.singles(func(seen int) {
		keys, longest, n = keys+seen, max(longest, seen), n+1
	})
	c := keyCut{math.MaxInt32, t.KVHeads}
	if threads == 1 || n == 0 {
		return c
	}
	if longest > longKeys || n*t.KVHeads < threads {
		c.keys = max(PartTokens, tiling.Align(keys/(4*threads), PartTokens))
		n = 0
		t.singles(func(seen int) { n += tiling.Ceil(seen, c.keys) })
	}
	c.heads = tiling.Ceil(t.KVHeads, tiling.Ceil(2*threads, n))
	return c
}

// singles visits the queries that are alone in their sequence, of which each sees so many
// keys.
func (t *Task) singles(visit func(seen int)) {
	for i := range t.Sequences {
		if s := &t.Sequences[i]; s.Count == 1 && !t.tiled(s) {
			u := t.unit(s, 0, 1)
			visit(u.end - u.begin)
		}
	}
}
