package normalize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Charsmap is a table of replacements in SentencePiece's compiled form: the
// length of a double-array trie in bytes (little endian, 32 bits), the trie, and
// the replacements, each ended by a zero byte. The trie is that of darts-clone.
type Charsmap struct {
	units        []uint32
	replacements string
}

// ParseCharsmap reads a table. What it refers to is checked when it is used, so
// that a damaged table replaces nothing where it leads out of itself.
func ParseCharsmap(data []byte) (*Charsmap, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("the charsmap has %d bytes, expected at least 4", len(data))
	}
	size := binary.LittleEndian.Uint32(data)
	rest := data[4:]
	if uint64(size) > uint64(len(rest)) || size%4 != 0 {
		return nil, fmt.Errorf("the charsmap's trie has %d bytes, expected a multiple of 4 and at most %d", size, len(rest))
	}
	if n := len(rest); n > int(size) && rest[n-1] != 0 {
		return nil, fmt.Errorf("the charsmap's last replacement has no end")
	}
	c := &Charsmap{units: make([]uint32, size/4), replacements: string(rest[size:])}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(rest[4*i:])
	}
	return c, nil
}

// prefix finds a replaced text that s begins with: the shortest or the longest.
func (c *Charsmap) prefix(s string, longest bool) (replacement string, size int) {
	if len(c.units) == 0 {
		return "", 0
	}
	at := offset(c.units[0])
	for i := 0; i < len(s) && s[i] != 0; i++ {
		if at ^= uint32(s[i]); uint64(at) >= uint64(len(c.units)) {
			break
		}
		unit := c.units[at]
		if unit&(1<<31|0xff) != uint32(s[i]) {
			break
		}
		at ^= offset(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if uint64(at) >= uint64(len(c.units)) {
			break
		}
		value := c.units[at] &^ (1 << 31)
		if uint64(value) >= uint64(len(c.replacements)) {
			break
		}
		replacement, _, _ = strings.Cut(c.replacements[value:], "\x00")
		if size = i + 1; !longest {
			break
		}
	}
	return replacement, size
}

// offset is the distance from a node of darts-clone to its children.
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// Longest replaces, at each place, the longest text of the table, as SentencePiece
// does. Where keep finds a text that must stay, it gives its length; it may be
// nil. Bytes that are no UTF-8 become U+FFFD.
func (c *Charsmap) Longest(keep func(text string) int) Func {
	return func(text string) string {
		out := make([]byte, 0, len(text))
		for at := 0; at < len(text); {
			if keep != nil {
				if n := keep(text[at:]); n > 0 {
					out = append(out, text[at:at+n]...)
					at += n
					continue
				}
			}
			if replacement, n := c.prefix(text[at:], true); n > 0 {
				out = append(out, replacement...)
				at += n
				continue
			}
			r, n := utf8.DecodeRuneInString(text[at:])
			out = utf8.AppendRune(out, r)
			at += n
		}
		return string(out)
	}
}

// Graphemes replaces whole graphemes of up to five bytes, and single characters
// otherwise, by the shortest text of the table that they begin with, as Hugging
// Face's tokenizers do.
func (c *Charsmap) Graphemes(text string) string {
	var out bytes.Buffer
	for at := 0; at < len(text); {
		n := grapheme(text[at:])
		if n < 6 {
			if replacement, found := c.prefix(text[at:at+n], false); found > 0 {
				out.WriteString(replacement)
				at += n
				continue
			}
		}
		for end := at + n; at < end; {
			r, size := utf8.DecodeRuneInString(text[at:])
			if replacement, found := c.prefix(text[at:at+size], false); found > 0 {
				out.WriteString(replacement)
			} else {
				out.WriteRune(r)
			}
			at += size
		}
	}
	return out.String()
}

// grapheme gives the length of the user-perceived character that text begins
// with. It is exact for the short ones that matter here; flags, and emoji and
// Hangul in parts, may come out in pieces.
func grapheme(text string) int {
	r, end := utf8.DecodeRuneInString(text)
	for unicode.In(r, unicode.Prepended_Concatenation_Mark, prepended) && end < len(text) {
		next, size := utf8.DecodeRuneInString(text[end:])
		if isBreak(next) {
			return end
		}
		r, end = next, end+size
	}
	if r == '\r' && end < len(text) && text[end] == '\n' {
		return 2
	}
	if isBreak(r) {
		return end
	}
	for end < len(text) {
		r, size := utf8.DecodeRuneInString(text[end:])
		if !extends(r) {
			break
		}
		end += size
	}
	return end
}

// extends tells marks, joiners, half-width sound marks, skin tones and tags.
func extends(r rune) bool {
	return unicode.IsMark(r) || r == 0x200c || r == 0x200d || r == 0xff9e || r == 0xff9f || r >= 0x1f3fb && r <= 0x1f3ff || r >= 0xe0020 && r <= 0xe007f
}

// isBreak tells characters that are always graphemes of their own.
func isBreak(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) ||
		unicode.Is(unicode.Cf, r) && !extends(r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

// prepended are letters that belong to the character after them.
var prepended = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0xd4e, Hi: 0xd4e, Stride: 1}},
	R32: []unicode.Range32{
		{Lo: 0x111c2, Hi: 0x111c3, Stride: 1}, {Lo: 0x1193f, Hi: 0x1193f, Stride: 1}, {Lo: 0x11941, Hi: 0x11941, Stride: 1},
		{Lo: 0x11a3a, Hi: 0x11a3a, Stride: 1}, {Lo: 0x11a84, Hi: 0x11a89, Stride: 1}, {Lo: 0x11d46, Hi: 0x11d46, Stride: 1}, {Lo: 0x11f02, Hi: 0x11f02, Stride: 1},
	},
}
