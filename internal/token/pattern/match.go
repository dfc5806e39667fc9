package pattern

import "unicode/utf8"

// Matcher finds the matches of a pattern in a text, from left to right. The
// zero Matcher is ready for Reset; it is not safe for concurrent use.
type Matcher struct {
	// Start and End are where the match that Next found lies, in bytes.
	Start, End int
	// Empty lets Next find empty matches too, but none right after another match.
	Empty bool

	p     *Pattern
	text  string
	pos   int
	stack []frame
	steps int            // choices since Next began
	known map[state]bool // whether the choice at a place leads to a match
	tried []stretch      // by loop
}

// frame is a place to go back to. A loop may give back runes down to low, and
// had taken those from start to high; a choice goes on with alternative low.
type frame struct {
	pc                    int32
	pos, low, start, high int
}

// state is a choice at a place in the text. As there are no captures, what
// comes of it is the same however it was reached.
type state struct {
	pc  int32
	pos int
}

// stretch is the runes that a loop took in vain: a match follows nowhere in it.
type stretch struct{ start, high int }

// remember is the number of choices in one search after which the matcher
// notes what came of them, so that it visits none twice. Usual texts stay below.
const remember = 256

// long is the length in bytes from which on a loop notes that it was in vain.
const long = 64

// Reset makes m ready to search text.
func (m *Matcher) Reset(p *Pattern, text string) {
	m.p, m.text, m.pos, m.known, m.Empty = p, text, 0, nil, false
	m.stack = m.stack[:0]
	if cap(m.tried) < p.loops {
		m.tried = make([]stretch, p.loops)
	}
	m.tried = m.tried[:p.loops]
	for i := range m.tried {
		m.tried[i] = stretch{0, -1}
	}
}

// Forget drops the text.
func (m *Matcher) Forget() { m.text, m.pos, m.known = "", 0, nil }

// Next finds the next match.
func (m *Matcher) Next() bool {
	entry := int32(len(m.p.prog) - 1)
	last := m.pos // where the match before this one ended
	for pos := m.pos; pos < len(m.text); {
		if m.p.anywhere || m.p.start[m.text[pos]] {
			m.steps = 0
			end := m.run(entry, pos, false)
			if end > pos || end == pos && m.Empty && pos > last {
				m.Start, m.End, m.pos = pos, end, end
				return true
			}
		}
		if m.text[pos] < utf8.RuneSelf {
			pos++
			continue
		}
		_, size := utf8.DecodeRuneInString(m.text[pos:])
		pos += size
	}
	m.pos = len(m.text)
	return false
}

// run gives the end of the match of the program at pc that begins at pos, or
// -1. If looking, nothing depends on where the match ends.
func (m *Matcher) run(pc int32, pos int, looking bool) int {
	bottom := len(m.stack)
	for {
		i := &m.p.prog[pc]
		end := -1 // where the instruction leaves off
		switch i.op {
		case opMatch:
			if looking {
				m.noteSuccess(bottom)
			}
			m.stack = m.stack[:bottom]
			return pos
		case opJump:
			end = pos
		case opSet:
			end = i.class.step(m.text, pos)
		case opLoop:
			end = m.loop(i, pc, pos)
		case opSplit, opAlt:
			good, seen := m.recall(pc, pos)
			if good && looking {
				m.stack = m.stack[:bottom]
				return pos
			}
			if !seen || good {
				if target := m.choose(i, pc, pos); target >= 0 {
					pc = target
					continue
				}
			}
		case opLook:
			if (m.run(i.other, pos, true) >= 0) != i.neg {
				end = pos
			}
		case opBehind:
			if m.behind(i, pos) != i.neg {
				end = pos
			}
		case opAtomic:
			end = m.run(i.other, pos, false)
		case opAssert:
			if m.holds(i.assert, pos) {
				end = pos
			}
		}
		if end >= 0 {
			pc, pos = i.next, end
		} else if pc, pos = m.back(bottom); pc < 0 {
			return -1
		}
	}
}

// loop takes as many runes as it may, and notes that it may give some back.
func (m *Matcher) loop(i *inst, pc int32, pos int) int {
	if t := m.tried[i.loop]; t.start <= pos && pos <= t.high {
		return -1
	}
	text, class, end, low, count := m.text, i.class, pos, pos, int32(0)
	for end < len(text) && count != i.max {
		if b := text[end]; b < utf8.RuneSelf {
			if !class.ascii[b] {
				break
			}
			end++
		} else {
			r, size := utf8.DecodeRuneInString(text[end:])
			if !class.wide(r) {
				break
			}
			end += size
		}
		if count++; count == i.min {
			low = end
		}
	}
	if count < i.min {
		return -1
	}
	if i.mode == possessive {
		low = end
	}
	if low < end || end-pos >= long {
		m.stack = append(m.stack, frame{pc: pc, pos: end, low: low, start: pos, high: end})
	}
	return end
}

// choose takes the first alternative of a choice and notes that there are others.
func (m *Matcher) choose(i *inst, pc int32, pos int) int32 {
	first := i.next
	if i.begins != nil && (pos == len(m.text) || !i.begins[m.text[pos]]) {
		return i.other
	}
	if i.op == opAlt {
		targets := m.targets(i, pos)
		if len(targets) == 0 {
			return -1
		}
		if first = targets[0]; len(targets) == 1 {
			return first
		}
	}
	m.steps++
	m.stack = append(m.stack, frame{pc: pc, pos: pos})
	return first
}

func (m *Matcher) targets(i *inst, pos int) []int32 {
	if pos < len(m.text) {
		return i.targets[m.text[pos]]
	}
	return i.targets[256]
}

// back goes to the youngest frame above bottom that leads elsewhere, or gives -1.
func (m *Matcher) back(bottom int) (pc int32, pos int) {
	for len(m.stack) > bottom {
		f := &m.stack[len(m.stack)-1]
		i := &m.p.prog[f.pc]
		f.low++
		switch {
		case i.op == opLoop:
			if f.low--; f.pos > f.low {
				_, size := utf8.DecodeLastRuneInString(m.text[:f.pos])
				f.pos -= size
				return i.next, f.pos
			}
			if i.max == forever && f.high-f.start >= long {
				m.tried[i.loop] = stretch{f.start, f.high}
			}
		case i.op == opSplit && f.low == 1:
			return i.other, f.pos
		case i.op == opAlt && f.low < len(m.targets(i, f.pos)):
			return m.targets(i, f.pos)[f.low], f.pos
		default:
			m.note(f, false)
		}
		m.stack = m.stack[:len(m.stack)-1]
	}
	return -1, 0
}

// recall says what is known of a choice.
func (m *Matcher) recall(pc int32, pos int) (good, seen bool) {
	if m.known == nil {
		return false, false
	}
	good, seen = m.known[state{pc, pos}]
	return good, seen
}

func (m *Matcher) note(f *frame, good bool) {
	if m.steps < remember {
		return
	}
	if m.known == nil {
		m.known = map[state]bool{}
	}
	m.known[state{f.pc, f.pos}] = good
}

// noteSuccess notes the choices that led to the match of a lookahead.
func (m *Matcher) noteSuccess(bottom int) {
	for i := bottom; i < len(m.stack) && m.steps >= remember; i++ {
		if f := &m.stack[i]; m.p.prog[f.pc].op != opLoop {
			m.note(f, true)
		}
	}
}

// behind reports whether the program at i.other matches the i.min runes before pos.
func (m *Matcher) behind(i *inst, pos int) bool {
	start := pos
	for range i.min {
		if start == 0 {
			return false
		}
		_, size := utf8.DecodeLastRuneInString(m.text[:start])
		start -= size
	}
	return m.run(i.other, start, false) == pos
}

func (m *Matcher) holds(a assertion, pos int) bool {
	text := m.text
	switch a {
	case textStart:
		return pos == 0
	case textEnd:
		return pos == len(text)
	case textEndBreak:
		return pos == len(text) || pos == len(text)-1 && text[pos] == '\n'
	case lineStart:
		return pos == 0 || text[pos-1] == '\n'
	case lineEnd:
		return pos == len(text) || text[pos] == '\n'
	}
	return (m.wordBefore(pos) != m.wordAt(pos)) == (a == wordEdge)
}

func (m *Matcher) wordBefore(pos int) bool {
	r, size := utf8.DecodeLastRuneInString(m.text[:pos])
	return size > 0 && m.p.word.has(r)
}

func (m *Matcher) wordAt(pos int) bool {
	r, size := utf8.DecodeRuneInString(m.text[pos:])
	return size > 0 && m.p.word.has(r)
}
