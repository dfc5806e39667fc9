package model

import (
	"slices"
	"unicode/utf8"
)

// BPEOptions say how the symbols are found that a BPE model merges.
type BPEOptions struct {
	// Alphabet, if not nil, makes bytes the symbols: entry b is the piece of
	// byte b, or None. Otherwise characters are.
	Alphabet *[256]int32
	// Whole finds words that are pieces already; nil if all words are merged.
	Whole *Vocab
	// Prefix stands before symbols that do not begin a word, and Suffix after
	// the one that ends it, in the vocabulary's pieces.
	Prefix, Suffix string
	// Unknown is the piece for characters that have none, or None to leave
	// them out; Fuse makes one of several that follow each other.
	Unknown int32
	Fuse    bool
	// ByteFallback turns such characters into pieces like <0x0A> first.
	ByteFallback bool
	// Late merges characters that have no piece with their neighbours before
	// Unknown or ByteFallback is applied to them, and lets merges be of symbols
	// that are no pieces: SentencePiece's order, and that of GGUF.
	Late bool
}

// BPE is byte-pair encoding: of all neighbours that can be merged, those with
// the lowest rank are, from left to right, until none is left.
type BPE struct {
	BPEOptions
	vocab *Vocab
	pairs *pairs
	bytes [256]int32
	ascii [utf8.RuneSelf]int32 // pieces of single characters
	// extra are symbols that are no pieces; their numbers follow the vocabulary's.
	extra map[string]int32
	texts []string
}

// NewBPE makes a model without merges.
func NewBPE(v *Vocab, o BPEOptions) *BPE {
	b := &BPE{BPEOptions: o, vocab: v, pairs: indexPairs(nil), bytes: v.byteTokens(), extra: map[string]int32{}}
	for c := range b.ascii {
		b.ascii[c] = None
		if o.Prefix == "" && o.Suffix == "" {
			b.ascii[c] = v.ID(string(rune(c)))
		}
	}
	return b
}

// Append implements Model.
func (b *BPE) Append(dst []int32, word string, s *Scratch) []int32 {
	if b.Whole != nil {
		if id := b.Whole.ID(word); id != None {
			return append(dst, id)
		}
	}
	if b.Alphabet != nil {
		s.ids = s.ids[:0]
		for i := range len(word) {
			if id := b.Alphabet[word[i]]; id != None {
				s.ids = append(s.ids, id)
			}
		}
	} else {
		b.characters(word, s)
	}
	b.merge(s)
	if len(b.texts) == 0 && !b.Late {
		return append(dst, s.ids...)
	}
	return append(dst, b.finish(s)...)
}

// Enough implements Model.
func (b *BPE) Enough(word string, n int) string {
	if !b.countsBytes() {
		return word
	}
	longest := b.vocab.longest
	if b.Whole != nil {
		longest = max(longest, b.Whole.longest)
	}
	return enough(word, n, longest)
}

// countsBytes reports whether no piece stands for more bytes than the longest of the
// vocabulary has: none is left out, and not any number of them is one unknown piece.
func (b *BPE) countsBytes() bool {
	if b.Alphabet != nil {
		return !slices.Contains(b.Alphabet[:], None)
	}
	return b.ByteFallback && !slices.Contains(b.bytes[:], None) || b.Unknown != None && !b.Fuse && !b.Late
}

// characters sets s.ids to the symbols of word.
func (b *BPE) characters(word string, s *Scratch) {
	s.ids = s.ids[:0]
	s.loose = s.loose[:0]
	for at := 0; at < len(word); {
		if c := word[at]; c < utf8.RuneSelf && b.ascii[c] != None {
			s.ids = append(s.ids, b.ascii[c])
			at++
			continue
		}
		_, size := utf8.DecodeRuneInString(word[at:])
		text := word[at : at+size]
		if b.Prefix != "" && at > 0 {
			text = b.Prefix + text
		}
		at += size
		if b.Suffix != "" && at == len(word) {
			text += b.Suffix
		}
		id := b.vocab.ID(text)
		switch {
		case id != None:
			s.ids = append(s.ids, id)
		case b.Late:
			s.ids = append(s.ids, b.lateSymbol(text, s))
		default:
			s.ids = b.unknown(s.ids, text)
		}
	}
}

// lateSymbol numbers a character that is no piece: as a part of merges, or as
// one of the loose texts of this word, below zero.
func (b *BPE) lateSymbol(text string, s *Scratch) int32 {
	if id, ok := b.extra[text]; ok {
		return id
	}
	s.loose = append(s.loose, text)
	return -1 - int32(len(s.loose))
}

// unknown appends what stands for a text that is no piece.
func (b *BPE) unknown(dst []int32, text string) []int32 {
	if b.ByteFallback {
		n := len(dst)
		for i := range len(text) {
			if id := b.bytes[text[i]]; id != None {
				dst = append(dst, id)
			}
		}
		if len(dst)-n == len(text) {
			return dst
		}
		dst = dst[:n]
	}
	if b.Unknown == None || b.Fuse && len(dst) > 0 && dst[len(dst)-1] == b.Unknown {
		return dst
	}
	return append(dst, b.Unknown)
}

// finish gives the merged symbols, those that are no pieces taken apart.
func (b *BPE) finish(s *Scratch) []int32 {
	size, out := int32(b.vocab.Size()), s.out[:0]
	for _, id := range s.ids {
		switch {
		case id < None:
			out = b.unknown(out, s.loose[-2-id])
		case id < size:
			out = append(out, id)
		case b.Alphabet != nil:
			out = b.spell(out, b.texts[id-size])
		default:
			out = b.unknown(out, b.texts[id-size])
		}
	}
	s.out = out
	return out
}

// spell appends a piece for each character of a symbol that is no piece itself.
func (b *BPE) spell(dst []int32, text string) []int32 {
	for _, r := range text {
		if id := b.vocab.ID(string(r)); id != None {
			dst = append(dst, id)
		}
	}
	return dst
}
