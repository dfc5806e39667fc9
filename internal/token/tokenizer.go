package token

import (
	"math"
	"sync"

	"github.com/salver-ml/salver/internal/token/decode"
	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/normalize"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// Tokenizer is safe for concurrent use.
type Tokenizer struct {
	pieces  []string
	vocab   *model.Vocab
	special []bool // by id: not part of the text
	// forms are what added tokens look like in normalized text, which is what
	// decoding gives for them, where that differs from the piece.
	forms map[int32]string

	raw, normalized *added         // tokens that are found before, and after, normalization
	normalize       normalize.Func // may be nil
	steps           []pretokenize.Step
	model           model.Model
	decoder         decode.Decoder

	before, after []int32 // what AddSpecial puts around a text
	bos           int32   // or model.None
	eos           []int32

	scratch sync.Pool
}

// EncodeOptions say what becomes of special tokens.
type EncodeOptions struct {
	// AddSpecial puts what the model expects around the text: BOS and EOS, or
	// [CLS] and [SEP].
	AddSpecial bool
	// ParseSpecial turns the text of a special token, such as <|im_end|>, into
	// its number. Text that users wrote should be encoded without it.
	ParseSpecial bool
	// Most, if it is not 0, is how many tokens are of use: of a text of more, some
	// are given that are more than Most, soon and without the memory for all.
	Most int
}

// scratch is what one call of Encode works in.
type scratch struct {
	cut   pretokenize.Scratch
	merge model.Scratch
	cache model.Cache
}

// Encode gives the numbers of the pieces of text.
func (t *Tokenizer) Encode(text string, o EncodeOptions) []int32 {
	s, _ := t.scratch.Get().(*scratch)
	if s == nil {
		s = &scratch{}
	}
	if o.Most == 0 {
		o.Most = math.MaxInt - 1
	}
	dst := make([]int32, 0, min(len(text)/3, o.Most)+len(t.before)+len(t.after)+1)
	if o.AddSpecial {
		dst = append(dst, t.before...)
	}
	for m := (found{}); m.id != model.None && len(dst) <= o.Most; {
		from := m.end
		m = t.raw.find(text, m.next, from, o.ParseSpecial)
		if from < m.start {
			dst = t.encodePlain(dst, text[from:m.start], from == 0, o, s)
		}
		if m.id != model.None {
			dst = append(dst, m.id)
		}
	}
	if o.AddSpecial {
		dst = append(dst, t.after...)
	}
	t.release(s)
	return dst
}

// maxKept is the number of parts of a text, and of symbols of a word, up to
// which the memory of a call is kept for the next.
const maxKept = 1 << 16

func (t *Tokenizer) release(s *scratch) {
	if s.cut.Size() <= maxKept && s.merge.Size() <= maxKept {
		s.cut.Forget()
		t.scratch.Put(s)
	}
}

// Long words are encoded one at a time, whoever wants them: models need up to a hundred
// times a word's size for it.
const longWord = 1 << 20 // bytes

var longWords sync.Mutex

// encodePlain encodes what lies between special tokens.
func (t *Tokenizer) encodePlain(dst []int32, text string, start bool, o EncodeOptions, s *scratch) []int32 {
	if t.normalize != nil {
		text = t.normalize(text)
	}
	word := func(word string) {
		left := o.Most - len(dst)
		if left < 0 {
			return
		}
		if len(word) > left {
			word = t.model.Enough(word, left)
		}
		if len(word) > longWord {
			longWords.Lock()
			defer longWords.Unlock()
		}
		dst = s.cache.Append(t.model, dst, word, &s.merge)
	}
	for m := (found{}); m.id != model.None && len(dst) <= o.Most; {
		from := m.end
		m = t.normalized.find(text, m.next, from, o.ParseSpecial)
		if from < m.start {
			pretokenize.Each(t.steps, text[from:m.start], start && from == 0, &s.cut, word)
		}
		if m.id != model.None {
			dst = append(dst, m.id)
		}
	}
	return dst
}

// Decode gives the text of ids. Numbers that are no tokens stand for nothing;
// with skipSpecial neither do special tokens. Bytes that are no UTF-8 become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	out := make([]byte, 0, 4*len(ids))
	s := t.Stream(skipSpecial)
	for _, id := range ids {
		out = append(out, s.Push(id)...)
	}
	return string(append(out, s.Flush()...))
}

// Stream decodes tokens as they come.
type Stream struct {
	t           *Tokenizer
	s           *decode.Stream
	skipSpecial bool
}

// Stream starts a text. What its Push and Flush return, joined, is what Decode gives.
func (t *Tokenizer) Stream(skipSpecial bool) *Stream {
	return &Stream{t, decode.NewStream(&t.decoder, false), skipSpecial}
}

// StreamAfter is Stream for tokens that continue a text: where the first piece
// of a text loses a leading blank, this one does not.
func (t *Tokenizer) StreamAfter(skipSpecial bool) *Stream {
	return &Stream{t, decode.NewStream(&t.decoder, true), skipSpecial}
}

// Push gives the text that is complete with a further token; it may be empty.
func (s *Stream) Push(id int32) string {
	if !s.t.has(id) || s.skipSpecial && s.t.special[id] {
		return ""
	}
	return s.s.Push(s.t.form(id))
}

// Flush gives what is left when no more tokens come.
func (s *Stream) Flush() string { return s.s.Flush() }

func (t *Tokenizer) form(id int32) string {
	if form, ok := t.forms[id]; ok {
		return form
	}
	return t.pieces[id]
}

func (t *Tokenizer) has(id int32) bool { return id >= 0 && int(id) < len(t.pieces) }

// Size is one more than the largest token number.
func (t *Tokenizer) Size() int { return len(t.pieces) }

// Piece gives a token as it is written in the vocabulary, or "".
func (t *Tokenizer) Piece(id int32) string {
	if !t.has(id) {
		return ""
	}
	return t.pieces[id]
}

// Bytes gives what a token stands for within a text; for a special token, what
// it is written as.
func (t *Tokenizer) Bytes(id int32) []byte {
	if !t.has(id) {
		return nil
	}
	if t.special[id] {
		return []byte(t.pieces[id])
	}
	return t.decoder.Append(nil, t.form(id), false)
}

// ID gives the number of a piece, as it is written in the vocabulary.
func (t *Tokenizer) ID(piece string) (int32, bool) {
	id := t.vocab.ID(piece)
	return max(id, 0), id != model.None
}

// IsSpecial reports whether a token is no part of the text, such as <|im_end|>.
func (t *Tokenizer) IsSpecial(id int32) bool { return t.has(id) && t.special[id] }

// BOS gives the token that begins a text, if the model has one.
func (t *Tokenizer) BOS() (int32, bool) { return max(t.bos, 0), t.bos != model.None }

// EOS gives all tokens that end what a model generates, the one that is called
// its EOS token first.
func (t *Tokenizer) EOS() []int32 { return t.eos }
