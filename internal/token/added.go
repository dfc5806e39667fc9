package token

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/model"
)

// addedToken is a token that is found in the text as it is, before the text is
// cut into words.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // not within a word
	LStrip     bool   `json:"lstrip"`      // takes the white space before it
	RStrip     bool   `json:"rstrip"`      // and after it
	Normalized bool   `json:"normalized"`  // found in the normalized text
	Special    bool   `json:"special"`
}

// added finds tokens in a text: from the left, the longest first.
type added struct {
	tokens []addedToken
	trie   *model.Trie
	begins [256]bool
}

// newAdded makes a finder. texts are what to look for, in the order of tokens.
func newAdded(tokens []addedToken, texts []string) (*added, error) {
	v, err := model.NewVocab(texts, nil)
	if err != nil {
		return nil, fmt.Errorf("added tokens: %w", err)
	}
	a := &added{tokens: tokens, trie: model.NewTrie(v, nil)}
	for _, text := range texts {
		if text != "" {
			a.begins[text[0]] = true
		}
	}
	return a, nil
}

// found is the place of a token in a text; id is None at the text's end.
type found struct {
	start, end int // with what it strips
	id         int32
	next       int // where to look for the next one
}

// find looks for the next token at or after at. Text before from is taken already.
// Stripping hides nothing: a token of white space is found within what the one before
// it strips, too. What is no word of its own, or special where that does not count, is
// passed over whole.
func (a *added) find(text string, at, from int, special bool) found {
	for len(a.tokens) > 0 && at < len(text) {
		if !a.begins[text[at]] {
			at++
			continue
		}
		i, size := a.trie.Longest(text[at:])
		if i == model.None {
			at++
			continue
		}
		token, next := &a.tokens[i], at+size
		if token.Special && !special || token.SingleWord && !alone(text, at, next) {
			at = next
			continue
		}
		start, end := at, next
		if token.LStrip {
			start = from + len(strings.TrimRightFunc(text[from:max(from, at)], unicode.IsSpace))
		}
		if token.RStrip { // between next and from, if that is behind it, is white space
			end = len(text) - len(strings.TrimLeftFunc(text[max(next, from):], unicode.IsSpace))
		}
		if start >= end { // nothing is left of it
			at = next
			continue
		}
		return found{start, end, token.ID, next}
	}
	return found{start: len(text), id: model.None}
}

// alone reports whether no word goes on across the ends of text[start:end].
func alone(text string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(text[:start])
	after, m := utf8.DecodeRuneInString(text[end:])
	return (n == 0 || !isWord(before)) && (m == 0 || !isWord(after))
}

func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
