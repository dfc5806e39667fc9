package normalize

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bert is BERT's own normalization.
type Bert struct {
	// Clean removes control characters and makes every white space a blank.
	Clean bool
	// Chinese puts blanks around Chinese characters.
	Chinese bool
	// StripAccents decomposes and removes nonspacing marks.
	StripAccents bool
	Lowercase    bool
}

// Func gives the normalization as a function.
func (b Bert) Func() Func {
	var steps []Func
	if b.Clean {
		steps = append(steps, clean)
	}
	if b.Chinese {
		steps = append(steps, spaceChinese)
	}
	if b.StripAccents {
		steps = append(steps, func(text string) string {
			if isASCII(text) {
				return text
			}
			return remove(NFD(text), isNonspacing)
		})
	}
	if b.Lowercase {
		steps = append(steps, Lowercase)
	}
	return Sequence(steps)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r == 0, r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co) && !unicode.Is(newFormats, r):
			return -1
		case unicode.IsSpace(r):
			return ' '
		}
		return r
	}, text)
}

func spaceChinese(text string) string {
	if strings.IndexFunc(text, isChinese) < 0 {
		return text
	}
	out := make([]byte, 0, len(text)+len(text)/2)
	for _, r := range text {
		if isChinese(r) {
			out = append(utf8.AppendRune(append(out, ' '), r), ' ')
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// isChinese tells the blocks of ideographs. That one begins at U+2B920, not
// U+2B820, is so in the library whose vocabularies these are.
func isChinese(r rune) bool {
	return r >= 0x3400 && (r <= 0x4dbf || r >= 0x4e00 && r <= 0x9fff || r >= 0xf900 && r <= 0xfaff ||
		r >= 0x20000 && r <= 0x2a6df || r >= 0x2a700 && r <= 0x2b81f || r >= 0x2b920 && r <= 0x2ceaf || r >= 0x2f800 && r <= 0x2fa1f)
}
