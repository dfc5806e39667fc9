package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is str.isspace of one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// charAt gives the i-th character; negative ones count from the end.
func charAt(s string, i int64) (string, bool) {
	if isASCII(s) {
		if i, ok := place(i, len(s)); ok {
			return s[i : i+1], true
		}
		return "", false
	}
	rs := []rune(s)
	if i, ok := place(i, len(rs)); ok {
		return string(rs[i]), true
	}
	return "", false
}

// upper is str.upper, with the characters that become several.
func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	var b strings.Builder
	for _, r := range s {
		writeUpper(&b, r)
	}
	return b.String()
}

func writeUpper(b *strings.Builder, r rune) {
	if special, ok := upperSpecial[r]; ok {
		b.WriteString(special)
		return
	}
	b.WriteRune(unicode.ToUpper(r))
}

// lower is str.lower: a capital sigma at a word's end becomes the final one.
func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == 'Σ' && finalSigma(s, i):
			b.WriteRune('ς')
		case r == 'İ':
			b.WriteString("i\u0307")
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

func finalSigma(s string, i int) bool {
	before := strings.TrimRightFunc(s[:i], caseIgnorable)
	after := strings.TrimLeftFunc(s[i+len("Σ"):], caseIgnorable)
	last, _ := utf8.DecodeLastRuneInString(before)
	next, _ := utf8.DecodeRuneInString(after)
	return before != "" && cased(last) && (after == "" || !cased(next))
}

func cased(r rune) bool {
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk) || strings.ContainsRune("'.:·․‘’’", r)
}

func casefold(s string) string {
	var b strings.Builder
	for _, r := range s {
		if special, ok := foldSpecial[r]; ok {
			b.WriteString(special)
			continue
		}
		b.WriteString(lowerRune(r))
	}
	return b.String()
}

func lowerRune(r rune) string {
	if r == 'İ' {
		return "i\u0307"
	}
	return string(unicode.ToLower(r))
}

func titleRune(r rune) string {
	if special, ok := titleSpecial[r]; ok {
		return special
	}
	return string(unicode.ToTitle(r))
}

// title is str.title: cased characters behind uncased ones are title case, others lower.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for i, r := range s {
		switch {
		case !inWord:
			b.WriteString(titleRune(r))
		case r == 'Σ' && finalSigma(s, i):
			b.WriteRune('ς')
		default:
			b.WriteString(lowerRune(r))
		}
		inWord = cased(r)
	}
	return b.String()
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	low := lower(s)
	_, m := utf8.DecodeRuneInString(low)
	if r == 'İ' {
		m = len("i\u0307")
	}
	return titleRune(r) + low[m:]
}

func swapcase(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == 'Σ' && finalSigma(s, i):
			b.WriteRune('ς')
		case unicode.IsUpper(r):
			b.WriteString(lowerRune(r))
		case unicode.IsLower(r):
			writeUpper(&b, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// splitLines is str.splitlines.
func splitLines(s string, keep bool) []string {
	var lines []string
	for s != "" {
		i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			return append(lines, s)
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		line := s[:i]
		if keep {
			line = s[:i+n]
		}
		lines, s = append(lines, line), s[i+n:]
	}
	return lines
}

// splitSpace is str.split without a separator; limit < 0 means no limit.
func splitSpace(s string, limit int) []string {
	var parts []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		i := strings.IndexFunc(s, isSpace)
		if limit >= 0 && len(parts) >= limit || i < 0 {
			return append(parts, s)
		}
		parts, s = append(parts, s[:i]), s[i:]
	}
	return parts
}

// rsplitSpace is str.rsplit without a separator.
func rsplitSpace(s string, limit int) []string {
	var parts []string
	for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
		i := strings.LastIndexFunc(s, isSpace)
		if limit >= 0 && len(parts) >= limit || i < 0 {
			parts = append(parts, s)
			break
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		parts, s = append(parts, s[i+n:]), s[:i]
	}
	reverse(parts)
	return parts
}

// rsplit splits at the last separators.
func rsplit(s, sep string, limit int) []string {
	var parts []string
	for limit < 0 || len(parts) < limit {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts, s = append(parts, s[i+len(sep):]), s[:i]
	}
	parts = append(parts, s)
	reverse(parts)
	return parts
}

func reverse(parts []string) {
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
}

func reverseText(s string) string {
	var b strings.Builder
	for s != "" {
		_, n := utf8.DecodeLastRuneInString(s)
		b.WriteString(s[len(s)-n:])
		s = s[:len(s)-n]
	}
	return b.String()
}

// every reports whether s has characters and all of them are as f says.
func every(s string, f func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !f(r) }) < 0
}

func isNumeric(r rune) bool { return unicode.Is(unicode.N, r) || unicode.Is(numericLetters, r) }

func isAlpha(r rune) bool { return unicode.IsLetter(r) }

func isDigit(r rune) bool { return unicode.IsDigit(r) || unicode.Is(otherDigits, r) }

// asciiDigits replaces the decimal digits of other scripts, which int() and float() take too.
func asciiDigits(s string) string {
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		for _, digits := range unicode.Nd.R16 { // each script's ten digits are in order
			if r >= rune(digits.Lo) && r <= rune(digits.Hi) {
				return '0' + (r-rune(digits.Lo))%10
			}
		}
		for _, digits := range unicode.Nd.R32 {
			if r >= rune(digits.Lo) && r <= rune(digits.Hi) {
				return '0' + (r-rune(digits.Lo))%10
			}
		}
		return r
	}, s)
}

// isCase reports whether s has cased characters, and none of the other case.
func isCase(s string, own, other func(rune) bool) bool {
	return strings.IndexFunc(s, own) >= 0 && strings.IndexFunc(s, func(r rune) bool { return other(r) || unicode.IsTitle(r) }) < 0
}

func isUpper(r rune) bool { return unicode.IsUpper(r) || unicode.Is(unicode.Other_Uppercase, r) }
func isLower(r rune) bool { return unicode.IsLower(r) || unicode.Is(unicode.Other_Lowercase, r) }

func isTitle(s string) bool {
	inWord, found := false, false
	for _, r := range s {
		switch {
		case isUpper(r) || unicode.IsTitle(r):
			if inWord {
				return false
			}
			inWord, found = true, true
		case isLower(r):
			if !inWord {
				return false
			}
			found = true
		default:
			inWord = false
		}
	}
	return found
}

func isIdentifier(s string) bool {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r) && !unicode.IsMark(r)) {
			return false
		}
	}
	return s != ""
}

// expandTabs is str.expandtabs.
func expandTabs(s string, size int) string {
	var b strings.Builder
	column := 0
	for _, r := range s {
		switch {
		case r == '\t' && size > 0:
			n := size - column%size
			b.WriteString(strings.Repeat(" ", n))
			column += n
		case r == '\t':
		default:
			b.WriteRune(r)
			if column++; r == '\n' || r == '\r' {
				column = 0
			}
		}
	}
	return b.String()
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")

func escapeHTML(s string) string { return htmlEscapes.Replace(s) }

// escape is markupsafe's: Markup stays as it is.
func (in *interp) escape(v any) string {
	if m, ok := v.(Markup); ok {
		return string(m)
	}
	s := escapeHTML(in.str(v))
	in.alloc(len(s))
	return s
}
