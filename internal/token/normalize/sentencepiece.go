package normalize

import "strings"

// SentencePiece is the normalization of SentencePiece models: blanks are
// written as Mark, and the text gets one before it.
type SentencePiece struct {
	// Map holds replacements that are made first; it may be nil.
	Map *Charsmap
	// Keep gives the length of a text at the beginning of its argument that Map
	// leaves alone; it may be nil.
	Keep func(text string) int
	// Squeeze removes blanks at both ends and all but one of several.
	Squeeze bool
	// Prefix puts a blank before a text that has any.
	Prefix bool
	// AsSuffix puts that blank at the end instead.
	AsSuffix bool
}

// Mark is what SentencePiece writes for a blank.
const Mark = "▁"

// Func gives the normalization as a function.
func (s SentencePiece) Func() Func {
	replace := func(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
	if s.Map != nil {
		replace = s.Map.Longest(s.Keep)
	}
	return func(text string) string {
		if text == "" {
			return ""
		}
		text = replace(text)
		if s.Squeeze && text != "" {
			if text = squeeze(text); text == "" {
				return ""
			}
		}
		switch {
		case !s.Prefix:
		case s.AsSuffix:
			text += " "
		case text != "" || !s.Squeeze:
			text = " " + text
		}
		return strings.ReplaceAll(text, " ", Mark)
	}
}

// squeeze also removes marks from the end, as those were in the text.
func squeeze(text string) string {
	text = strings.TrimRight(strings.TrimLeft(text, " "), " "+Mark)
	if !strings.Contains(text, "  ") {
		return text
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }), " ")
}
