package normalize

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The normal forms of Unicode Standard Annex 15, for Unicode 9, which the tokenizers
// library has: a character that came later stands for itself.
var (
	NFC  Func = nfc.text
	NFD  Func = nfd.text
	NFKC Func = nfkc.text
	NFKD Func = nfkd.text
)

var (
	nfc  = form{norm.NFC, norm.NFD, true}
	nfd  = form{norm.NFD, norm.NFD, false}
	nfkc = form{norm.NFKC, norm.NFKD, true}
	nfkd = form{norm.NFKD, norm.NFKD, false}
)

// form is a normal form: x/text's, the one that it decomposes to, and whether it composes.
type form struct {
	norm      norm.Form
	decompose norm.Form
	compose   bool
}

// text normalizes what isn't plain, with the character before it, and leaves the rest as it is.
func (f form) text(text string) string {
	var out []byte
	done := 0 // how much of text is in out
	for at := 0; at < len(text); {
		from := at
		for at < len(text) {
			if text[at] < utf8.RuneSelf {
				from, at = at, at+1
				continue
			}
			r, size := utf8.DecodeRuneInString(text[at:])
			if !f.plain(r) {
				break
			}
			from, at = at, at+size
		}
		if at == len(text) {
			break
		}
		normalize := f.known
		for at < len(text) {
			r, size := utf8.DecodeRuneInString(text[at:])
			if f.plain(r) {
				break
			}
			if isLater(r) {
				normalize = f.assigned
			}
			at += size
		}
		if part := normalize(text[from:at]); part != text[from:at] {
			out = append(append(out, text[done:from]...), part...)
			done = at
		}
	}
	if done == 0 {
		return text
	}
	return string(append(out, text[done:]...))
}

// plain tells characters of the usual scripts that the form leaves as they are, and that
// never become one with what is before them.
func (f form) plain(r rune) bool {
	switch {
	case r < 0xa0:
		return true
	case !f.compose:
		return false
	case r < 0x300:
		return f.norm == norm.NFC
	}
	return r >= 0x400 && r <= 0x481 || r >= 0x3041 && r <= 0x3096 || r >= 0x30a1 && r <= 0x30fa ||
		r >= 0x4e00 && r <= 0x9fff || r >= 0xac00 && r <= 0xd7a3
}

// assigned normalizes a text, and leaves the characters in it that came after Unicode 9.
func (f form) assigned(text string) string {
	out := make([]byte, 0, len(text))
	for at := strings.IndexFunc(text, isLater); at >= 0; at = strings.IndexFunc(text, isLater) {
		_, size := utf8.DecodeRuneInString(text[at:])
		out = append(append(out, f.known(text[:at])...), text[at:at+size]...)
		text = text[at+size:]
	}
	return string(append(out, f.known(text)...))
}

// isLater tells characters that take part in normalization, and came after Unicode 9.
func isLater(r rune) bool {
	return r < 1<<17 && laterPages[r>>13]>>(r>>7&63)&1 != 0 && unicode.Is(later, r)
}

// laterPages has a bit for each 128 characters: whether any of them is in later.
var laterPages = func() (pages [16]uint64) {
	for _, r := range later.R16 {
		for p := r.Lo >> 7; p <= r.Hi>>7; p++ {
			pages[p>>6] |= 1 << (p & 63)
		}
	}
	for _, r := range later.R32 {
		for p := r.Lo >> 7; p <= r.Hi>>7; p++ {
			pages[p>>6] |= 1 << (p & 63)
		}
	}
	return pages
}()

// joiner is what x/text puts between marks of which more than 30 follow each other,
// as the annex's Stream-Safe Text has it. The tokenizers library doesn't.
const joiner = "\u034f"

// known normalizes a text of characters that Unicode 9 has.
func (f form) known(text string) string {
	out := f.norm.String(text)
	if strings.Count(out, joiner) == strings.Count(text, joiner) {
		return out
	}
	return f.byHand(text)
}

// byHand follows the annex, for any number of marks.
func (f form) byHand(text string) string {
	var runes []rune
	for _, r := range text {
		runes = append(runes, []rune(f.decompose.String(string(r)))...)
	}
	for at := 0; at < len(runes); at++ { // marks are ordered by class
		end := at
		for end < len(runes) && class(runes[end]) > 0 {
			end++
		}
		slices.SortStableFunc(runes[at:end], func(a, b rune) int { return int(class(a)) - int(class(b)) })
		at = end
	}
	if f.compose {
		runes = compose(runes)
	}
	return string(runes)
}

func class(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	return norm.NFD.PropertiesString(string(r)).CCC()
}

// compose puts a character and what follows it into one where there is such a one,
// and no other mark of the same class stands between.
func compose(runes []rune) []rune {
	out, starter, last := runes[:0], -1, uint8(0)
	for _, r := range runes {
		c := class(r)
		if starter >= 0 && (starter == len(out)-1 || last < c) {
			if both := []rune(norm.NFC.String(string([]rune{out[starter], r}))); len(both) == 1 {
				out[starter] = both[0]
				continue
			}
		}
		if c == 0 {
			starter = len(out)
		}
		last = c
		out = append(out, r)
	}
	return out
}
