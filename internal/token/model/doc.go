// Package model turns words into the numbers of vocabulary pieces: byte-pair
// encoding, unigram language models, WordPiece and word lists. What a word is,
// and how text was normalized before, is decided elsewhere.
//
// Models are immutable once built and safe for concurrent use; what encoding
// needs to write to is in a Scratch.
package model

import "unicode/utf8"

// Model appends the numbers of the pieces of a word to dst.
type Model interface {
	Append(dst []int32, word string, s *Scratch) []int32
	// Enough gives as much of a word as surely has more than n pieces, or all of it.
	Enough(word string, n int) string
}

// enough is Enough of a model whose pieces have so many bytes at most, or are a character.
func enough(word string, n, longest int) string {
	longest = max(longest, utf8.UTFMax)
	if n >= len(word)/longest {
		return word
	}
	end := (n + 1) * longest
	for end < len(word) && !utf8.RuneStart(word[end]) {
		end++
	}
	return word[:end]
}

// None stands for a piece that a vocabulary does not have.
const None int32 = -1
