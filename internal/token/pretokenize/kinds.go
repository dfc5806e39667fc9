package pretokenize

import "unicode"

// IsSpace tells white space.
func IsSpace(r rune) bool { return unicode.IsSpace(r) }

// IsNumber tells digits and other numbers.
func IsNumber(r rune) bool { return unicode.IsNumber(r) }

// IsPunctuation tells punctuation, and every ASCII character that is neither
// letter, digit, blank nor control.
func IsPunctuation(r rune) bool {
	if r < 0x80 {
		return r > ' ' && r < 0x7f && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	return unicode.IsPunct(r)
}
