// Package bytelevel writes bytes as printable characters and back: the alphabet
// in which GPT-2 and its successors spell their vocabularies. Printable bytes of
// Latin-1 stand for themselves; the others are U+0100 and up, in order.
package bytelevel

import "unicode/utf8"

var (
	runes [256]rune
	bytes = map[rune]byte{}
)

func init() {
	next := rune(256)
	for b := range runes {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xa1 || b == 0xad {
			r = next
			next++
		}
		runes[b] = r
		bytes[r] = byte(b)
	}
}

// Rune gives the character that stands for b.
func Rune(b byte) rune { return runes[b] }

// Encode spells the bytes of text.
func Encode(text string) string {
	out := make([]byte, 0, len(text)+len(text)/2)
	for i := range len(text) {
		out = utf8.AppendRune(out, runes[text[i]])
	}
	return string(out)
}

// AppendDecoded appends the bytes that text spells to dst, and reports whether
// all its characters are of the alphabet; if not, dst is as it was.
func AppendDecoded(dst []byte, text string) ([]byte, bool) {
	n := len(dst)
	for _, r := range text {
		if r > ' ' && r <= '~' {
			dst = append(dst, byte(r))
			continue
		}
		b, ok := bytes[r]
		if !ok {
			return dst[:n], false
		}
		dst = append(dst, b)
	}
	return dst, true
}
