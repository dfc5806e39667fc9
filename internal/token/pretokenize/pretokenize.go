// Package pretokenize cuts text into the words that a model turns into pieces.
// A Step works on one stretch of text; a sequence of them, each on what the one
// before made, is what Hugging Face's tokenizers call a pre-tokenizer.
package pretokenize

import (
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/bytelevel"
	"github.com/salver-ml/salver/internal/token/pattern"
)

// Step appends the parts of text to dst. start says that text is the beginning
// of all that is encoded.
type Step interface {
	Split(dst []string, text string, start bool, s *Scratch) []string
}

// Scratch is the memory that steps work in. It is not safe for concurrent use.
type Scratch struct {
	matcher pattern.Matcher
	cuts    []cut
	parts   []string
	spare   []string
}

// cut is a part of a text, from the end of the one before it.
type cut struct {
	end   int
	match bool
}

// Each runs steps over text and gives each word to f.
func Each(steps []Step, text string, start bool, s *Scratch, f func(word string)) {
	if text == "" {
		return
	}
	if len(steps) == 0 {
		f(text)
		return
	}
	last := steps[len(steps)-1]
	s.parts = append(s.parts[:0], text)
	for _, step := range steps[:len(steps)-1] {
		s.spare, s.parts = s.parts, s.spare[:0]
		for i, part := range s.spare {
			s.parts = step.Split(s.parts, part, begins(start, i, text, part), s)
		}
	}
	for i, part := range s.parts {
		// Words of the usual last step are not put in a list first.
		if r, ok := last.(Regexp); ok && r.Behavior == Isolated {
			r.each(part, s, f)
			continue
		}
		s.spare = last.Split(s.spare[:0], part, begins(start, i, text, part), s)
		for _, word := range s.spare {
			f(word)
		}
	}
}

// begins reports whether part i of text is the beginning of all that is encoded.
func begins(start bool, i int, text, part string) bool {
	return start && i == 0 && strings.HasPrefix(text, part)
}

// Size is the number of parts that s holds memory for.
func (s *Scratch) Size() int { return max(cap(s.parts), cap(s.spare), cap(s.cuts)) }

// Forget drops what s knows of the last text.
func (s *Scratch) Forget() {
	clear(s.parts[:cap(s.parts)])
	clear(s.spare[:cap(s.spare)])
	s.matcher.Forget()
}

// Behavior is what becomes of the places where a text is cut.
type Behavior uint8

// The behaviors of tokenizer.json, by their names there.
const (
	Isolated Behavior = iota
	Removed
	MergedWithPrevious
	MergedWithNext
	Contiguous
)

// Regexp cuts at the matches of a pattern, or, inverted, at what lies between.
type Regexp struct {
	Pattern  *pattern.Pattern
	Behavior Behavior
	Invert   bool
}

// Split implements Step.
func (r Regexp) Split(dst []string, text string, _ bool, s *Scratch) []string {
	m := &s.matcher
	m.Reset(r.Pattern, text)
	m.Empty = true
	at := 0
	if r.Behavior == Isolated {
		for ; m.Next(); at = m.End {
			dst = appendPart(appendPart(dst, text[at:m.Start]), text[m.Start:m.End])
		}
		return appendPart(dst, text[at:])
	}
	s.cuts = s.cuts[:0]
	for ; m.Next(); at = m.End {
		if m.Start > at {
			s.cuts = append(s.cuts, cut{m.Start, r.Invert})
		}
		s.cuts = append(s.cuts, cut{m.End, !r.Invert})
	}
	if at < len(text) {
		s.cuts = append(s.cuts, cut{len(text), r.Invert})
	}
	return r.Behavior.apply(dst, text, s.cuts)
}

// each gives the parts of text to f, for Isolated.
func (r Regexp) each(text string, s *Scratch, f func(word string)) {
	m := &s.matcher
	m.Reset(r.Pattern, text)
	m.Empty = true
	at := 0
	for ; m.Next(); at = m.End {
		if m.Start > at {
			f(text[at:m.Start])
		}
		if m.End > m.Start {
			f(text[m.Start:m.End])
		}
	}
	if at < len(text) {
		f(text[at:])
	}
}

func appendPart(dst []string, part string) []string {
	if part == "" {
		return dst
	}
	return append(dst, part)
}

// Runes cuts at each character that is of a kind.
type Runes struct {
	Is       func(rune) bool
	Behavior Behavior
}

// Split implements Step.
func (c Runes) Split(dst []string, text string, _ bool, s *Scratch) []string {
	s.cuts = s.cuts[:0]
	at := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if c.Is(r) {
			if i > at {
				s.cuts = append(s.cuts, cut{i, false})
			}
			at = i + size
			s.cuts = append(s.cuts, cut{at, true})
		}
		i += size
	}
	if at < len(text) {
		s.cuts = append(s.cuts, cut{len(text), false})
	}
	return c.Behavior.apply(dst, text, s.cuts)
}

// apply appends the parts of text that remain of cuts, which it overwrites.
func (b Behavior) apply(dst []string, text string, cuts []cut) []string {
	at := 0
	for i, c := range cuts {
		next := cut{match: !c.match}
		if i+1 < len(cuts) {
			next = cuts[i+1]
		}
		joined := false // with the next part
		switch b {
		case Removed:
			if c.match {
				at = c.end
			}
		case MergedWithPrevious:
			joined = !c.match && next.match && i+1 < len(cuts)
		case MergedWithNext:
			joined = c.match && !next.match && i+1 < len(cuts)
		case Contiguous:
			joined = c.match == next.match && i+1 < len(cuts)
		}
		if !joined {
			dst = appendPart(dst, text[at:c.end])
			at = c.end
		}
	}
	return dst
}

// PrefixSpace puts a blank before a text that begins with none.
type PrefixSpace struct{}

// Split implements Step.
func (PrefixSpace) Split(dst []string, text string, _ bool, _ *Scratch) []string {
	if !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	return append(dst, text)
}

// ByteLevel spells each part in GPT-2's alphabet.
type ByteLevel struct{}

// Split implements Step.
func (ByteLevel) Split(dst []string, text string, _ bool, _ *Scratch) []string {
	return append(dst, bytelevel.Encode(text))
}

// Scheme says which texts Metaspace puts a mark before.
type Scheme uint8

// The schemes of tokenizer.json.
const (
	Always Scheme = iota
	First
	Never
)

// Metaspace writes blanks as a visible mark and cuts before each.
type Metaspace struct {
	Mark   string
	Scheme Scheme
	// Whole leaves the text in one part.
	Whole bool
}

// Split implements Step.
func (m Metaspace) Split(dst []string, text string, start bool, s *Scratch) []string {
	text = strings.ReplaceAll(text, " ", m.Mark)
	if m.Scheme == Always || m.Scheme == First && start {
		if !strings.HasPrefix(text, m.Mark) {
			text = m.Mark + text
		}
	}
	if m.Whole {
		return append(dst, text)
	}
	s.cuts = s.cuts[:0]
	for at := 0; at < len(text); {
		i := strings.Index(text[at:], m.Mark)
		if i < 0 {
			s.cuts = append(s.cuts, cut{len(text), false})
			break
		}
		if i > 0 {
			s.cuts = append(s.cuts, cut{at + i, false})
		}
		at += i + len(m.Mark)
		s.cuts = append(s.cuts, cut{at, true})
	}
	return MergedWithNext.apply(dst, text, s.cuts)
}

// Marks cuts before each mark, unless it follows another one or a glued character.
type Marks struct {
	Mark  string
	Glued map[rune]bool
}

// Split implements Step.
func (m Marks) Split(dst []string, text string, _ bool, _ *Scratch) []string {
	at := 0
	for from := 0; ; {
		i := strings.Index(text[from:], m.Mark)
		if i < 0 {
			return appendPart(dst, text[at:])
		}
		before, size := utf8.DecodeLastRuneInString(text[:from+i])
		if i > 0 && size > 0 && !m.Glued[before] {
			dst = append(dst, text[at:from+i])
			at = from + i
		}
		from += i + len(m.Mark)
	}
}

// FixedLength cuts after every so many characters.
type FixedLength int

// Split implements Step.
func (n FixedLength) Split(dst []string, text string, _ bool, _ *Scratch) []string {
	count, at := 0, 0
	for i := range text {
		if count == int(n) {
			dst = append(dst, text[at:i])
			at, count = i, 0
		}
		count++
	}
	return append(dst, text[at:])
}
