// Package pattern matches the regular expressions with which tokenizers cut
// text into words: Perl's syntax with lookahead and lookbehind, possessive and
// lazy repetition, Unicode classes and set operations, as the libraries that
// trained those tokenizers understand them. There are no captures and no back
// references.
//
//	p, err := pattern.Compile(`\p{L}+|\s+(?!\S)|\s+`, pattern.Perl)
//	var m pattern.Matcher
//	for m.Reset(p, text); m.Next(); {
//		word := text[m.Start:m.End]
//	}
//
// Of several alternatives the first that leads to a match is taken, as a
// backtracking matcher does. Time stays bounded on any text: what failed at a
// place once is not tried there again, so a long run of one character costs
// time in proportion to its length.
//
// Bytes that are no UTF-8 match as one U+FFFD each.
package pattern
