package token

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/normalize"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// sentencePiece is a SentencePiece model file (sentencepiece_model.proto).
type sentencePiece struct {
	pieces []string
	scores []float32
	types  []int32

	kind              uint64 // of the model
	byteFallback      bool
	unk, bos, eos     int32
	unkSurface        string
	charsmap          []byte
	prefix, squeeze   bool
	escape, asSuffix  bool
	denormalizerRules bool
}

// The kinds of models.
const (
	kindUnigram = 1
	kindBPE     = 2
)

func parseSentencePiece(data []byte) (*sentencePiece, error) {
	p := &sentencePiece{kind: kindUnigram, bos: 1, eos: 2, unkSurface: " ⁇ ", prefix: true, squeeze: true, escape: true}
	err := fields(data, func(n protowire.Number, _ uint64, b []byte) error {
		switch n {
		case 1:
			return p.piece(b)
		case 2:
			return fields(b, p.trainer)
		case 3:
			return fields(b, p.normalizer)
		case 5:
			return fields(b, func(n protowire.Number, _ uint64, b []byte) error {
				p.denormalizerRules = p.denormalizerRules || n == 2 && len(b) > 0
				return nil
			})
		}
		return nil
	})
	return p, err
}

// fields calls f for each field of a message: v is what a varint or fixed
// number holds, b the bytes of a field with a length.
func fields(data []byte, f func(n protowire.Number, v uint64, b []byte) error) error {
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return fmt.Errorf("not a SentencePiece model: %w", protowire.ParseError(n))
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var v32 uint32
			v32, n = protowire.ConsumeFixed32(data)
			v = uint64(v32)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(data)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(num, kind, data)
		}
		if n < 0 {
			return fmt.Errorf("not a SentencePiece model: field %d: %w", num, protowire.ParseError(n))
		}
		data = data[n:]
		if err := f(num, v, b); err != nil {
			return err
		}
	}
	return nil
}

func (p *sentencePiece) piece(data []byte) error {
	text, score, kind := "", float32(0), int32(typeNormal)
	err := fields(data, func(n protowire.Number, v uint64, b []byte) error {
		switch n {
		case 1:
			text = string(b)
		case 2:
			score = math.Float32frombits(uint32(v))
		case 3:
			kind = int32(v)
		}
		return nil
	})
	if err == nil && text == "" {
		err = fmt.Errorf("piece %d is empty", len(p.pieces))
	}
	p.pieces, p.scores, p.types = append(p.pieces, text), append(p.scores, score), append(p.types, kind)
	return err
}

func (p *sentencePiece) trainer(n protowire.Number, v uint64, b []byte) error {
	switch n {
	case 3:
		p.kind = v
	case 24:
		p.asSuffix = v != 0
	case 35:
		p.byteFallback = v != 0
	case 40:
		p.unk = int32(v)
	case 41:
		p.bos = int32(v)
	case 42:
		p.eos = int32(v)
	case 44:
		p.unkSurface = string(b)
	}
	return nil
}

func (p *sentencePiece) normalizer(n protowire.Number, v uint64, b []byte) error {
	switch n {
	case 2:
		p.charsmap = b
	case 3:
		p.prefix = v != 0
	case 4:
		p.squeeze = v != 0
	case 5:
		p.escape = v != 0
	}
	return nil
}

// fromSentencePiece reads a tokenizer.model.
func fromSentencePiece(data []byte) (*Tokenizer, error) {
	p, err := parseSentencePiece(data)
	switch {
	case err != nil:
		return nil, err
	case len(p.pieces) == 0:
		return nil, errors.New("the SentencePiece model has no pieces")
	case !p.escape:
		return nil, errors.New("SentencePiece models without escape_whitespaces are not supported")
	case p.denormalizerRules:
		return nil, errors.New("SentencePiece models with rules for denormalization are not supported")
	}
	unknown := model.None
	for i, kind := range p.types {
		if kind == typeUnknown {
			unknown = int32(i)
		}
	}
	n := normalize.SentencePiece{Squeeze: p.squeeze, Prefix: p.prefix, AsSuffix: p.asSuffix}
	var t *Tokenizer
	switch p.kind {
	case kindUnigram:
		t, err = sentencePieceUnigram(n, p.charsmap, p.pieces, p.scores, p.types, unknown, p.byteFallback)
	case kindBPE:
		t, err = p.bpe(n, unknown)
	default:
		return nil, fmt.Errorf("the SentencePiece model is of kind %d, expected %d (unigram) or %d (BPE)", p.kind, kindUnigram, kindBPE)
	}
	if err != nil {
		return nil, err
	}
	return t, p.finish(t, unknown)
}

func (p *sentencePiece) bpe(n normalize.SentencePiece, unknown int32) (*Tokenizer, error) {
	m, err := scoreBPE(p.pieces, p.scores, p.types, unknown)
	if err != nil {
		return nil, err
	}
	m.ByteFallback = p.byteFallback
	f, err := sentencePieceNormalizer(n, p.charsmap, p.pieces, p.types)
	return &Tokenizer{
		model:     m,
		normalize: f,
		steps:     []pretokenize.Step{beforeMarks(p.pieces)},
		decoder:   sentencePieceDecoder(n.Prefix, n.Squeeze),
	}, err
}

func (p *sentencePiece) finish(t *Tokenizer, unknown int32) (err error) {
	t.pieces = p.pieces
	if t.vocab, err = model.NewVocab(p.pieces, nil); err != nil {
		return err
	}
	if unknown != model.None {
		t.decoder.Unknown, t.decoder.Surface = p.pieces[unknown], p.unkSurface
	}
	t.special = make([]bool, len(p.pieces))
	var control, defined []addedToken
	for i, kind := range p.types {
		t.special[i] = kind == typeControl
		token := addedToken{ID: int32(i), Content: p.pieces[i], Special: t.special[i]}
		switch {
		case kind == typeControl:
			control = append(control, token)
		case kind == typeUserDefined && p.kind == kindBPE:
			defined = append(defined, token) // a unigram model finds them itself
		}
	}
	inRange := func(id int32) int32 {
		if id < 0 || int(id) >= len(p.pieces) {
			return model.None
		}
		return id
	}
	t.bos = inRange(p.bos)
	eos := inRange(p.eos)
	t.setEnds([]int32{eos})
	switch {
	case t.bos != model.None:
		t.before = []int32{t.bos}
	case eos != model.None:
		t.after = []int32{eos}
	}
	if err = t.setAdded(control); err != nil {
		return err
	}
	texts := make([]string, len(defined))
	for i, token := range defined {
		texts[i] = token.Content
	}
	t.normalized, err = newAdded(defined, texts)
	return err
}

// sentencePieceUnigram makes the tokenizer of a unigram language model.
func sentencePieceUnigram(n normalize.SentencePiece, charsmap []byte, pieces []string, scores []float32, types []int32, unknown int32, byteFallback bool) (*Tokenizer, error) {
	f, err := sentencePieceNormalizer(n, charsmap, pieces, types)
	if err != nil {
		return nil, err
	}
	v, err := model.NewVocab(pieces, func(id int32) bool {
		return types[id] == typeControl || types[id] == typeUnknown || types[id] == typeUnused
	})
	if err != nil {
		return nil, err
	}
	o := model.UnigramOptions{
		Scores: make([]float64, len(scores)), Unknown: unknown, ByteFallback: byteFallback, Single: true,
		UserDefined: func(id int32) bool { return types[id] == typeUserDefined },
		Hidden:      func(id int32) bool { return types[id] == typeByte },
	}
	for i, s := range scores {
		o.Scores[i] = float64(s)
	}
	m, err := model.NewUnigram(v, o, func(id int32) bool { return types[id] == typeNormal })
	return &Tokenizer{model: m, normalize: f, decoder: sentencePieceDecoder(n.Prefix, n.Squeeze)}, err
}

func sentencePieceNormalizer(n normalize.SentencePiece, charsmap []byte, pieces []string, types []int32) (f normalize.Func, err error) {
	if len(charsmap) > 0 {
		if n.Map, err = normalize.ParseCharsmap(charsmap); err != nil {
			return nil, err
		}
	}
	defined := make([]string, len(pieces))
	any := false
	for i, kind := range types {
		if kind == typeUserDefined {
			defined[i], any = strings.ReplaceAll(pieces[i], normalize.Mark, " "), true
		}
	}
	if any {
		v, err := model.NewVocab(defined, nil)
		if err != nil {
			return nil, err
		}
		trie := model.NewTrie(v, nil)
		n.Keep = func(text string) int {
			_, size := trie.Longest(text)
			return size
		}
	}
	return n.Func(), nil
}
