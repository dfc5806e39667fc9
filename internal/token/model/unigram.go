package model

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// UnigramOptions describe a unigram language model.
type UnigramOptions struct {
	// Scores are the logarithms of the pieces' probabilities.
	Scores []float64
	// Unknown is the piece for characters without one; None if there is none,
	// in which case they are left out.
	Unknown int32
	// UserDefined names pieces that are preferred to all others; nil if none are.
	UserDefined func(id int32) bool
	// Hidden names pieces that no text is turned into but as bytes; nil if none are.
	Hidden func(id int32) bool
	// ByteFallback turns unknown characters into pieces like <0x0A>.
	ByteFallback bool
	// Single adds scores in float32, as SentencePiece does; otherwise float64
	// is used, as in Hugging Face's tokenizers.
	Single bool
}

// Unigram finds the pieces with the largest sum of scores that make up a word
// (Kudo 2018, "Subword Regularization").
type Unigram struct {
	UnigramOptions
	vocab      *Vocab
	trie       *Trie
	bytes      [256]int32
	low, high  float64
	unknownFee float64
}

// leastHigh is where SentencePiece's search for the largest score begins: the
// smallest positive float32, so that logarithms of probabilities do not count.
const leastHigh = 0x1p-126

// unknownPenalty is how far below the rarest piece an unknown character is.
const unknownPenalty = 10

// NewUnigram makes a model of the pieces that v finds. Those that counts does
// not name are no part of the range of scores.
func NewUnigram(v *Vocab, o UnigramOptions, counts func(id int32) bool) (*Unigram, error) {
	if len(o.Scores) != v.Size() {
		return nil, fmt.Errorf("the vocabulary has %d pieces and %d scores", v.Size(), len(o.Scores))
	}
	u := &Unigram{UnigramOptions: o, vocab: v, trie: NewTrie(v, o.Hidden), bytes: v.byteTokens(), low: math.Inf(1), high: leastHigh}
	for id, score := range o.Scores {
		if math.IsNaN(score) || math.IsInf(score, 0) {
			return nil, fmt.Errorf("piece %d has the score %v, expected a finite one", id, score)
		}
		if counts(int32(id)) {
			u.low, u.high = min(u.low, score), max(u.high, score)
		}
	}
	if math.IsInf(u.low, 0) {
		u.low = 0
	}
	u.unknownFee = u.round(u.low - unknownPenalty)
	return u, nil
}

func (u *Unigram) round(x float64) float64 {
	if u.Single {
		return float64(float32(x))
	}
	return x
}

// step is the best way to a place in a word: its score, and its last piece.
type step struct {
	score float64
	from  int
	id    int32 // -2 where no way leads
}

const noWay int32 = -2

// Append implements Model.
func (u *Unigram) Append(dst []int32, word string, s *Scratch) []int32 {
	if word == "" {
		return dst
	}
	u.search(word, s)
	// Walk back over the best path, then turn it around.
	begin := len(dst)
	for end := len(word); end > 0; {
		at := s.path[end]
		start := at.from
		if at.id == u.Unknown {
			for start > 0 && s.path[start].id == u.Unknown {
				start = s.path[start].from
			}
			dst = u.unknown(dst, word[start:end])
		} else {
			dst = append(dst, at.id)
		}
		end = start
	}
	slices.Reverse(dst[begin:])
	return dst
}

// Enough implements Model. Where a run of unknown characters is one piece, none is.
func (u *Unigram) Enough(word string, n int) string {
	if !u.ByteFallback || slices.Contains(u.bytes[:], None) {
		return word
	}
	return enough(word, n, u.vocab.longest)
}

func (u *Unigram) search(word string, s *Scratch) {
	s.path = s.path[:0]
	for range len(word) + 1 {
		s.path = append(s.path, step{id: noWay})
	}
	path := s.path
	path[0] = step{id: 0}
	for at := 0; at < len(word); {
		_, size := utf8.DecodeRuneInString(word[at:])
		here, single := path[at].score, false
		node := int32(0)
		for end := at; end < len(word); {
			if node = u.trie.child(node, word[end]); node == None {
				break
			}
			end++
			id := u.trie.ids[node]
			if id == None {
				continue
			}
			single = single || end == at+size
			u.improve(&path[end], u.round(here+u.score(id, word[at:end])), at, id)
		}
		if !single {
			u.improve(&path[at+size], u.round(here+u.unknownFee), at, u.Unknown)
		}
		at += size
	}
}

func (u *Unigram) improve(s *step, score float64, from int, id int32) {
	if s.id == noWay || score > s.score {
		*s = step{score, from, id}
	}
}

func (u *Unigram) score(id int32, text string) float64 {
	if u.UserDefined != nil && u.UserDefined(id) {
		return float64(len(text))*u.high - 0.1
	}
	return u.Scores[id]
}

// unknown appends what stands for a run of unknown characters, backwards.
func (u *Unigram) unknown(dst []int32, text string) []int32 {
	if !u.Single {
		// Hugging Face's library looks such a run up as one piece.
		if id := u.vocab.ID(text); id != None && (u.Hidden == nil || !u.Hidden(id)) {
			return append(dst, id)
		}
	}
	if u.ByteFallback {
		n := len(dst)
		for i := len(text) - 1; i >= 0 && u.bytes[text[i]] != None; i-- {
			dst = append(dst, u.bytes[text[i]])
		}
		if len(dst)-n == len(text) {
			return dst
		}
		dst = dst[:n]
	}
	if u.Unknown == None {
		return dst
	}
	return append(dst, u.Unknown)
}
