package model

import "unicode/utf8"

// WordPiece takes the longest piece that a word begins with, then the longest
// one that continues it, and so on; a word that cannot be made of pieces is
// Unknown (Schuster and Nakajima 2012).
type WordPiece struct {
	heads, tails *Vocab
	unknown      int32
	maxLength    int
}

// NewWordPiece makes a model of the pieces that begin a word, and of those that
// continue one, as they stand in the word. Words of more than maxLength
// characters are unknown.
func NewWordPiece(heads, tails *Vocab, unknown int32, maxLength int) *WordPiece {
	return &WordPiece{heads, tails, unknown, maxLength}
}

// Append implements Model.
func (w *WordPiece) Append(dst []int32, word string, _ *Scratch) []int32 {
	if utf8.RuneCountInString(word) > w.maxLength {
		return append(dst, w.unknown)
	}
	begin, pieces := len(dst), w.heads
	for at := 0; at < len(word); pieces = w.tails {
		id, size := pieces.longestIn(word[at:])
		if id == None {
			return append(dst[:begin], w.unknown)
		}
		dst = append(dst, id)
		at += size
	}
	return dst
}

// Enough implements Model: a long word is one piece.
func (w *WordPiece) Enough(word string, _ int) string { return word }

// longestIn finds the longest piece that text begins with, and its length.
func (v *Vocab) longestIn(text string) (id int32, size int) {
	end := min(len(text), v.longest)
	for end > 0 && end < len(text) && !utf8.RuneStart(text[end]) {
		end--
	}
	for end > 0 {
		if id := v.ID(text[:end]); id != None {
			return id, end
		}
		_, last := utf8.DecodeLastRuneInString(text[:end])
		end -= last
	}
	return None, 0
}

// WordLevel has a piece for each word it knows.
type WordLevel struct {
	vocab   *Vocab
	unknown int32
}

// NewWordLevel makes a model. If unknown is None, unknown words are left out.
func NewWordLevel(v *Vocab, unknown int32) *WordLevel { return &WordLevel{v, unknown} }

// Enough implements Model: a word is one piece at most.
func (w *WordLevel) Enough(word string, _ int) string { return word }

// Append implements Model.
func (w *WordLevel) Append(dst []int32, word string, _ *Scratch) []int32 {
	if id := w.vocab.ID(word); id != None {
		return append(dst, id)
	}
	if w.unknown == None {
		return dst
	}
	return append(dst, w.unknown)
}
