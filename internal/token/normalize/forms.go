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

func (f form) text(text string) string {
	at := strings.IndexFunc(text, isLater)
	if at < 0 {
		return f.known(text)
	}
	out := make([]byte, 0, len(text))
	for ; at >= 0; at = strings.IndexFunc(text, isLater) {
		_, size := utf8.DecodeRuneInString(text[at:])
		out = append(append(out, f.known(text[:at])...), text[at:at+size]...)
		text = text[at+size:]
	}
	return string(append(out, f.known(text)...))
}

// isLater tells characters that take part in normalization, and came after Unicode 9.
func isLater(r rune) bool { return r >= firstLater && unicode.Is(later, r) }

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
