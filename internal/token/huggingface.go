package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/normalize"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// huggingFace is a tokenizer.json. Truncation and padding are about batches of
// texts: a tokenizer here gives all of a text and nothing else.
type huggingFace struct {
	Version       string          `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
}

// maxNesting bounds sequences within sequences.
const maxNesting = 16

// strict reads a JSON object that has no other fields than v.
func strict(raw json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// without reads the fields of an object but for those of the given names, whose
// texts it gives.
func without(fields map[string]json.RawMessage, v any, names ...string) ([]string, error) {
	var texts []string
	for _, name := range names {
		texts = append(texts, string(fields[name]))
		delete(fields, name)
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return nil, err
	}
	return texts, strict(raw, v)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// typeOf reads the field that says what an object is.
func typeOf(raw json.RawMessage) (string, error) {
	var v struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(raw, &v)
	return v.Type, err
}

// fromHuggingFace reads a tokenizer.json, with what the files beside it say.
func fromHuggingFace(data []byte, c *config) (*Tokenizer, error) {
	m, err := parseHuggingFace(data, c)
	if err != nil {
		return nil, err
	}
	return m.t, nil
}

func parseHuggingFace(data []byte, c *config) (*hfModel, error) {
	fields, err := scanObject(string(data))
	if err != nil {
		return nil, err
	}
	var f huggingFace
	m := &hfModel{t: &Tokenizer{}}
	texts, err := without(fields, &f, "model")
	if err != nil {
		return nil, err
	}
	t := m.t
	if !isNull(f.Normalizer) {
		if t.normalize, err = hfNormalizer(f.Normalizer, 0); err != nil {
			return nil, fmt.Errorf("normalizer: %w", err)
		}
	}
	if !isNull(f.PreTokenizer) {
		if t.steps, err = hfPreTokenizer(f.PreTokenizer, 0); err != nil {
			return nil, fmt.Errorf("pre_tokenizer: %w", err)
		}
	}
	if t.decoder, err = hfDecoder(f.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	if err = m.read(texts[0]); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err = m.add(slices.Concat(f.AddedTokens, c.missing(f.AddedTokens))); err != nil {
		return nil, fmt.Errorf("added_tokens: %w", err)
	}
	if err = m.build(c); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err = m.finish(c); err != nil {
		return nil, err
	}
	if t.before, t.after, err = hfPostProcessor(f.PostProcessor, 0); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	for _, id := range slices.Concat(t.before, t.after) {
		if !t.has(id) {
			return nil, fmt.Errorf("post_processor: token %d is not in the vocabulary of %d", id, t.Size())
		}
	}
	c.around(t)
	return m, nil
}

// hfModel builds a model and what hangs on its vocabulary, from the fields of
// tokenizer.json or, in part, for other lists of pieces with added tokens.
type hfModel struct {
	t      *Tokenizer
	kind   string
	fields hfFields
	vocab  []scored // of the file, before it is ordered by number

	pieces  []string
	scores  []float64
	outside []bool // by id: only among the added tokens
	tokens  []addedToken
}

// hfFields are those of all models; each has some of them.
type hfFields struct {
	Type                    string   `json:"type"`
	Dropout                 *float64 `json:"dropout"`
	UnkToken                *string  `json:"unk_token"`
	UnkID                   *int32   `json:"unk_id"`
	ContinuingSubwordPrefix *string  `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string  `json:"end_of_word_suffix"`
	MaxInputCharsPerWord    *int     `json:"max_input_chars_per_word"`
	FuseUnk                 bool     `json:"fuse_unk"`
	ByteFallback            bool     `json:"byte_fallback"`
	IgnoreMerges            bool     `json:"ignore_merges"`

	vocab, merges string // their text
}

func (m *hfModel) read(data string) error {
	if data == "" {
		return errors.New("missing")
	}
	fields, err := scanObject(data)
	if err != nil {
		return err
	}
	f := &m.fields
	texts, err := without(fields, f, "vocab", "merges")
	if err != nil {
		return err
	}
	f.vocab, f.merges = texts[0], texts[1]
	if m.kind = f.Type; m.kind == "" {
		m.kind = f.guess()
	}
	if m.kind == "Unigram" {
		m.vocab, err = scanScored(f.vocab)
	} else {
		m.vocab, err = scanNumbered(f.vocab)
	}
	if err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	size := 0
	for _, p := range m.vocab {
		size = max(size, int(p.id)+1)
	}
	if most := 2*len(m.vocab) + 1<<16; size > most {
		return fmt.Errorf("vocab: number %d is out of proportion, expected less than %d for %d pieces", size-1, most, len(m.vocab))
	}
	m.pieces, m.scores = make([]string, size), make([]float64, size)
	for _, p := range m.vocab {
		if old := m.pieces[p.id]; old != "" {
			return fmt.Errorf("vocab: %q and %q have the number %d", old, p.piece, p.id)
		}
		m.pieces[p.id], m.scores[p.id] = p.piece, p.score
	}
	m.outside = make([]bool, size)
	return nil
}

// guess names a model of a file from before models had types.
func (f *hfFields) guess() string {
	switch {
	case f.merges != "":
		return "BPE"
	case f.MaxInputCharsPerWord != nil:
		return "WordPiece"
	case strings.HasPrefix(f.vocab, "["):
		return "Unigram"
	}
	return "WordLevel"
}

// add enters the added tokens into the vocabulary.
func (m *hfModel) add(tokens []addedToken) error {
	most := 2*(len(m.pieces)+len(tokens)) + 1<<16
	known, err := model.NewVocab(m.pieces, nil)
	if err != nil {
		return err
	}
	for _, a := range tokens {
		if id := known.ID(a.Content); id != model.None {
			a.ID = id // what the model calls it counts
		}
		switch {
		case a.ID < 0 || int(a.ID) >= most:
			return fmt.Errorf("%q has the number %d, expected less than %d", a.Content, a.ID, most)
		case a.Content == "":
			continue
		}
		for int(a.ID) >= len(m.pieces) {
			m.pieces, m.scores, m.outside = append(m.pieces, ""), append(m.scores, 0), append(m.outside, true)
		}
		if old := m.pieces[a.ID]; old != "" && old != a.Content {
			return fmt.Errorf("%q has the number %d, which is that of %q", a.Content, a.ID, old)
		}
		m.pieces[a.ID] = a.Content
		m.tokens = append(m.tokens, a)
	}
	return nil
}

// hidden tells tokens that a model makes of no text.
func (m *hfModel) hidden(id int32) bool { return m.outside[id] || m.t.special[id] }

func (m *hfModel) build(c *config) (err error) {
	t := m.t
	t.pieces = m.pieces
	t.special = make([]bool, len(m.pieces))
	for _, a := range m.tokens {
		t.special[a.ID] = a.Special
	}
	if t.vocab, err = model.NewVocab(m.pieces, nil); err != nil {
		return err
	}
	m.name(c)
	switch m.kind {
	case "BPE":
		t.model, err = m.bpe()
	case "Unigram":
		t.model, err = m.unigram()
	case "WordPiece":
		t.model, err = m.wordPiece()
	case "WordLevel":
		t.model, err = m.wordLevel()
	default:
		err = fmt.Errorf("type %q is unknown, expected BPE, Unigram, WordPiece or WordLevel", m.kind)
	}
	return err
}

// name makes those tokens special, too, that the files beside the model's name.
func (m *hfModel) name(c *config) {
	t := m.t
	for _, use := range slices.Sorted(maps.Keys(c.tokens)) {
		id := c.id(t, use)
		if id != model.None && !slices.ContainsFunc(m.tokens, func(a addedToken) bool { return a.ID == id }) {
			t.special[id] = true
			m.tokens = append(m.tokens, addedToken{ID: id, Content: t.pieces[id], Special: true})
		}
	}
}

// unknown gives the number of unk_token, or None where there is none.
func (m *hfModel) unknown() (int32, error) {
	name := m.fields.UnkToken
	if name == nil || *name == "" {
		return model.None, nil
	}
	id := m.t.vocab.ID(*name)
	if id == model.None {
		return id, fmt.Errorf("unk_token %q is not in the vocabulary", *name)
	}
	return id, nil
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (m *hfModel) bpe() (model.Model, error) {
	f := &m.fields
	if f.Dropout != nil && *f.Dropout != 0 {
		return nil, fmt.Errorf("dropout is %v: encoding at random is for training", *f.Dropout)
	}
	merges, err := scanMerges(f.merges)
	if err != nil {
		return nil, fmt.Errorf("merges: %w", err)
	}
	unknown, err := m.unknown()
	if err != nil {
		return nil, err
	}
	v, err := model.NewVocab(m.pieces, func(id int32) bool { return m.outside[id] })
	if err != nil {
		return nil, err
	}
	o := model.BPEOptions{
		Unknown: unknown, Fuse: f.FuseUnk, ByteFallback: f.ByteFallback,
		Prefix: text(f.ContinuingSubwordPrefix), Suffix: text(f.EndOfWordSuffix),
	}
	texts := m.pieces
	if m.bytewise(v, &o) {
		texts = byteTexts(m.pieces)
	}
	if f.IgnoreMerges {
		if o.Whole, err = model.NewVocab(texts, m.hidden); err != nil {
			return nil, err
		}
	}
	b := model.NewBPE(v, o)
	if err := b.AddMerges(len(merges), func(i int) (string, string) { return merges[i][0], merges[i][1] }); err != nil {
		return nil, err
	}
	m.cutAtMarks(o)
	return b, nil
}

// bytewise lets the model work on bytes where the last step before it only
// spells them in letters.
func (m *hfModel) bytewise(v *model.Vocab, o *model.BPEOptions) bool {
	n := len(m.t.steps)
	if n == 0 || o.Prefix != "" || o.Suffix != "" {
		return false
	}
	if _, ok := m.t.steps[n-1].(pretokenize.ByteLevel); !ok {
		return false
	}
	alphabet := byteAlphabet(v)
	for _, id := range alphabet {
		if id == model.None && (o.Unknown != model.None || o.ByteFallback) {
			return false
		}
	}
	o.Alphabet = alphabet
	m.t.steps = m.t.steps[:n-1]
	return true
}

// cutAtMarks makes words of texts that are not cut, where that changes nothing. It would
// where unknown characters are left out, since what stands beside them is merged then.
func (m *hfModel) cutAtMarks(o model.BPEOptions) {
	t := m.t
	if len(t.steps) == 1 {
		if s, ok := t.steps[0].(pretokenize.Metaspace); !ok || !s.Whole || s.Mark != normalize.Mark {
			return
		}
	}
	if len(t.steps) < 2 && o.Alphabet == nil && o.Prefix == "" && o.Suffix == "" && o.Whole == nil && o.Unknown != model.None &&
		t.vocab.ID(normalize.Mark) != model.None {
		t.steps = append(t.steps, beforeMarks(m.pieces))
	}
}

func (m *hfModel) unigram() (model.Model, error) {
	f := &m.fields
	unknown := model.None
	if f.UnkID != nil {
		if unknown = *f.UnkID; unknown < 0 || int(unknown) >= len(m.vocab) {
			return nil, fmt.Errorf("unk_id is %d, expected less than the %d pieces", unknown, len(m.vocab))
		}
	}
	v, err := model.NewVocab(m.pieces, m.hidden)
	if err != nil {
		return nil, err
	}
	return model.NewUnigram(v, model.UnigramOptions{Scores: m.scores, Unknown: unknown, ByteFallback: f.ByteFallback},
		func(id int32) bool { return !m.outside[id] })
}

func (m *hfModel) wordPiece() (model.Model, error) {
	unknown, err := m.unknown()
	if err != nil {
		return nil, err
	}
	prefix, longest := "##", 100
	if p := m.fields.ContinuingSubwordPrefix; p != nil {
		prefix = *p
	}
	if n := m.fields.MaxInputCharsPerWord; n != nil {
		longest = *n
	}
	heads, tails := make([]string, len(m.pieces)), make([]string, len(m.pieces))
	for i, p := range m.pieces {
		if m.hidden(int32(i)) {
			continue
		}
		heads[i] = p
		if tail, ok := strings.CutPrefix(p, prefix); ok {
			tails[i] = tail
		}
	}
	return wordPiece(heads, tails, unknown, longest)
}

func (m *hfModel) wordLevel() (model.Model, error) {
	unknown, err := m.unknown()
	if err != nil {
		return nil, err
	}
	v, err := model.NewVocab(m.pieces, m.hidden)
	return model.NewWordLevel(v, unknown), err
}

// finish sets what the special tokens are for.
func (m *hfModel) finish(c *config) error {
	t := m.t
	t.bos = c.id(t, "bos_token")
	t.setEnds([]int32{c.id(t, "eos_token")})
	return t.setAdded(m.tokens)
}
