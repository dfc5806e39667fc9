// Package normalize rewrites text before it is cut into words: Unicode's normal
// forms, case, accents, white space, and SentencePiece's compiled rules, as the
// libraries that trained the tokenizers do.
package normalize

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/bytelevel"
	"github.com/salver-ml/salver/internal/token/pattern"
)

// Func rewrites a text.
type Func func(text string) string

// Sequence applies steps in order.
func Sequence(steps []Func) Func {
	return func(text string) string {
		for _, f := range steps {
			text = f(text)
		}
		return text
	}
}

// Lowercase maps each character by itself: a capital sigma at the end of a word
// becomes σ, and İ an i with a dot above.
func Lowercase(text string) string {
	if i := strings.IndexFunc(text, func(r rune) bool { return toLower(r) != r }); i < 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for _, r := range text {
		if r == 'İ' {
			out = append(out, "i̇"...)
			continue
		}
		out = utf8.AppendRune(out, toLower(r))
	}
	return string(out)
}

// StripAccents removes combining marks. It follows a decomposition.
func StripAccents(text string) string { return remove(text, isMark) }

func remove(text string, unwanted func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if unwanted(r) {
			return -1
		}
		return r
	}, text)
}

// Replace puts content in the place of each match.
func Replace(p *pattern.Pattern, content string) Func {
	return func(text string) string {
		var m pattern.Matcher
		var out []byte
		at := 0
		for m.Reset(p, text); m.Next(); at = m.End {
			out = append(append(out, text[at:m.Start]...), content...)
		}
		if at == 0 {
			return text
		}
		return string(append(out, text[at:]...))
	}
}

// ReplaceString puts content in the place of each occurrence of old.
func ReplaceString(old, content string) Func {
	if old == "" {
		return func(text string) string { return text }
	}
	return func(text string) string { return strings.ReplaceAll(text, old, content) }
}

// Prepend puts prefix before a text that is not empty.
func Prepend(prefix string) Func {
	return func(text string) string {
		if text == "" {
			return text
		}
		return prefix + text
	}
}

// Strip removes white space from the ends of a text.
func Strip(left, right bool) Func {
	return func(text string) string {
		if left {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		}
		if right {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		return text
	}
}

// ByteLevel spells the bytes of a text in GPT-2's alphabet.
func ByteLevel(text string) string { return bytelevel.Encode(text) }

// Nmt removes control characters and makes white space of others, as
// SentencePiece's rules for machine translation do.
func Nmt(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 1 && r <= 8, r == 0xb, r >= 0xe && r <= 0x1f, r == 0x7f, r == 0x8f, r == 0x9f:
			return -1
		case r == '\t', r == '\n', r == '\f', r == '\r', r == 0x1680, r >= 0x200b && r <= 0x200f, r == 0x2028, r == 0x2029, r == 0x2581, r == 0xfeff, r == 0xfffd:
			return ' '
		}
		return r
	}, text)
}
