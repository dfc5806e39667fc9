package decode

import (
	"strings"
	"unicode/utf8"
)

// Stream puts text together from pieces. What Push and Flush return, joined, is
// the text, however the pieces come; no part of it ends within a character.
type Stream struct {
	d       *Decoder
	started bool   // a piece was there
	last    string // the piece before, if those that repeat it are left out
	bytes   []byte // of a character that is not complete
	trim    int    // how often Trim may still be removed
	held    string // text that may yet be trimmed from the end
}

// NewStream makes a stream. If it goes on after text that was decoded before,
// nothing is removed from its beginning.
func NewStream(d *Decoder, goesOn bool) *Stream {
	s := &Stream{d: d, started: goesOn}
	if !goesOn {
		s.trim = d.TrimStart
	}
	return s
}

// Push gives the text that is complete with a further piece.
func (s *Stream) Push(piece string) string {
	if s.d.Dedupe {
		if s.started && piece == s.last {
			return ""
		}
		s.last = piece
	}
	if piece == s.d.Unknown && piece != "" {
		s.trim = 0
	}
	s.bytes = s.d.Append(s.bytes, piece, !s.started)
	s.started = true
	text, n := s.complete(false)
	s.bytes = append(s.bytes[:0], s.bytes[n:]...)
	return s.finish(text, false)
}

// Flush gives what is left at the end.
func (s *Stream) Flush() string {
	text, _ := s.complete(true)
	s.bytes = s.bytes[:0]
	return s.finish(text, true)
}

// complete gives the characters of s.bytes and the number of bytes they take.
// Bytes that can't become a character are U+FFFD: one for the whole beginning of
// a character in ByteLevel, as Unicode recommends; one for each byte in
// ByteFallback, as in SentencePiece.
func (s *Stream) complete(end bool) (string, int) {
	b, at := s.bytes, 0
	if utf8.Valid(b) {
		return string(b), len(b)
	}
	var out []byte
	for at < len(b) {
		if !end && !utf8.FullRune(b[at:]) {
			break
		}
		r, size := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && size == 1 && s.d.Spelling != ByteFallback {
			size = broken(b[at:])
		}
		out = utf8.AppendRune(out, r)
		at += size
	}
	return string(out), at
}

// broken is the length of the beginning of a character that b begins with.
func broken(b []byte) int {
	n := 1
	for k := 1; k <= min(3, len(b)) && !utf8.FullRune(b[:k]); k++ {
		n = k
	}
	return n
}

// finish trims text, and holds back what may have to be trimmed at the end.
func (s *Stream) finish(text string, end bool) string {
	d := s.d
	for s.trim > 0 && text != "" {
		rest, ok := strings.CutPrefix(text, d.Trim)
		if !ok {
			s.trim = 0
			break
		}
		text = rest
		s.trim--
	}
	if d.Suffix == "" && d.TrimEnd == 0 {
		return text
	}
	text = s.held + text
	s.held = ""
	if end {
		for i := 0; i < d.TrimEnd && strings.HasSuffix(text, d.Trim); i++ {
			text = strings.TrimSuffix(text, d.Trim)
		}
		return s.blanks(text, true)
	}
	keep := len(text)
	if d.Suffix != "" {
		keep = s.suffixStart(text)
	}
	for i := 0; i < d.TrimEnd && strings.HasSuffix(text[:keep], d.Trim); i++ {
		keep -= len(d.Trim)
	}
	s.held = strings.Clone(text[keep:])
	return s.blanks(text[:keep], false)
}

// suffixStart gives where the suffix, or a part of it, begins that ends text.
func (s *Stream) suffixStart(text string) int {
	for n := min(len(s.d.Suffix), len(text)); n > 0; n-- {
		if strings.HasSuffix(text, s.d.Suffix[:n]) {
			return len(text) - n
		}
	}
	return len(text)
}

func (s *Stream) blanks(text string, end bool) string {
	if s.d.Suffix == "" {
		return text
	}
	if end {
		text = strings.TrimSuffix(text, s.d.Suffix)
	}
	return strings.ReplaceAll(text, s.d.Suffix, " ")
}
