package pattern

import (
	"slices"
	"sort"
	"sync"
	"unicode"
	"unicode/utf8"
)

// span is the runes lo to hi, both included.
type span struct{ lo, hi rune }

// set is a set of runes: spans in order that neither overlap nor touch.
type set []span

func one(r rune) set { return set{{r, r}} }

func fromTable(t *unicode.RangeTable) set {
	var s set
	for _, r := range t.R16 {
		s = s.addStride(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	for _, r := range t.R32 {
		s = s.addStride(rune(r.Lo), rune(r.Hi), rune(r.Stride))
	}
	return append(s, addedTo(t)...).normal()
}

func (s set) addStride(lo, hi, stride rune) set {
	if stride == 1 {
		return append(s, span{lo, hi})
	}
	for r := lo; r <= hi; r += stride {
		s = append(s, span{r, r})
	}
	return s
}

// normal sorts the spans and joins those that overlap or touch.
func (s set) normal() set {
	sort.Slice(s, func(i, j int) bool { return s[i].lo < s[j].lo })
	out := s[:0]
	for _, p := range s {
		if n := len(out); n > 0 && p.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, p.hi)
			continue
		}
		out = append(out, p)
	}
	return out
}

func union(sets ...set) set { return set(slices.Concat(sets...)).normal() }

func (s set) not() set {
	var out set
	next := rune(0)
	for _, p := range s {
		if p.lo > next {
			out = append(out, span{next, p.lo - 1})
		}
		next = p.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, span{next, unicode.MaxRune})
	}
	return out
}

func (s set) and(t set) set { return union(s.not(), t.not()).not() }

// fold adds the runes that differ from those of s in case only.
func (s set) fold() set {
	out := slices.Clone(s)
	for _, cased := range casedRunes().and(s) {
		for r := cased.lo; r <= cased.hi; r++ {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				out = append(out, span{f, f})
			}
		}
	}
	return out.normal()
}

// casedRunes holds every rune that has another in its folding orbit.
var casedRunes = sync.OnceValue(func() set {
	return union(fromTable(unicode.Lu), fromTable(unicode.Ll), fromTable(unicode.Lt),
		fromTable(unicode.Mn), fromTable(unicode.Nl), fromTable(unicode.So))
})

func (s set) has(r rune) bool {
	_, found := slices.BinarySearchFunc(s, r, func(p span, r rune) int {
		switch {
		case p.hi < r:
			return -1
		case p.lo > r:
			return 1
		}
		return 0
	})
	return found
}

// class is a set in the form that matching reads: a table for ASCII, and bits
// in pages of 256 runes for the rest. Equal pages are kept once.
type class struct {
	ascii [utf8.RuneSelf]bool
	page  [(unicode.MaxRune + 1) >> 8]uint16
	bits  [][4]uint64
}

func newClass(s set) *class {
	c := &class{}
	seen := map[[4]uint64]uint16{}
	var page [4]uint64
	next := 0
	for i := range c.page {
		first := rune(i) << 8
		page = [4]uint64{}
		for ; next < len(s) && s[next].lo <= first+255; next++ {
			lo, hi := max(s[next].lo, first), min(s[next].hi, first+255)
			for r := lo; r <= hi; r = r&^63 + 64 {
				page[(r-first)>>6] |= ^uint64(0) << (r & 63) & (^uint64(0) >> (63 - min(hi-r&^63, 63)))
			}
			if s[next].hi > first+255 {
				break
			}
		}
		at, ok := seen[page]
		if !ok {
			at = uint16(len(c.bits))
			seen[page] = at
			c.bits = append(c.bits, page)
		}
		c.page[i] = at
	}
	for r := range c.ascii {
		c.ascii[r] = c.wide(rune(r))
	}
	return c
}

// wide looks up any valid rune, ASCII or not.
func (c *class) wide(r rune) bool {
	return c.bits[c.page[r>>8]][r>>6&3]>>(r&63)&1 != 0
}

// step gives where the rune at s[at:] ends if the class has it, or -1.
func (c *class) step(s string, at int) int {
	if at >= len(s) {
		return -1
	}
	if b := s[at]; b < utf8.RuneSelf {
		if c.ascii[b] {
			return at + 1
		}
		return -1
	}
	if r, size := utf8.DecodeRuneInString(s[at:]); c.wide(r) {
		return at + size
	}
	return -1
}
