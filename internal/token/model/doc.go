// Package model turns words into the numbers of vocabulary pieces: byte-pair
// encoding, unigram language models, WordPiece and word lists. What a word is,
// and how text was normalized before, is decided elsewhere.
//
// Models are immutable once built and safe for concurrent use; what encoding
// needs to write to is in a Scratch.
package model

// Model appends the numbers of the pieces of a word to dst.
type Model interface {
	Append(dst []int32, word string, s *Scratch) []int32
}

// None stands for a piece that a vocabulary does not have.
const None int32 = -1
