package token

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/salver-ml/salver/internal/token/model"
)

// FromGGUF reads the tokenizer out of the metadata of a GGUF file: plain Go
// values and typed slices by key.
func FromGGUF(meta map[string]any) (*Tokenizer, error) {
	g := &ggufMeta{meta: meta, bos: model.None, eos: model.None, unknown: model.None, sep: model.None}
	t, err := g.tokenizer()
	if err = errors.Join(g.err, err); err != nil {
		return nil, fmt.Errorf("tokenizer of the GGUF file: %w", err)
	}
	return t, nil
}

const keyPrefix = "tokenizer.ggml."

// ggufMeta holds what all kinds of tokenizers in GGUF files share.
type ggufMeta struct {
	meta   map[string]any
	pieces []string
	types  []int32
	scores []float32

	bos, eos, unknown, sep int32
	addBOS, addEOS, addSep bool
	err                    error // the first of those in metadata
}

// The types of tokens in tokenizer.ggml.token_type, and of pieces in
// SentencePiece models.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
	typeByte        = 6
)

func (g *ggufMeta) tokenizer() (*Tokenizer, error) {
	kind := ""
	value(g, "model", &kind)
	value(g, "tokens", &g.pieces)
	value(g, "scores", &g.scores)
	value(g, "token_type", &g.types)
	n := len(g.pieces)
	switch {
	case g.err != nil:
		return nil, nil
	case kind == "":
		return nil, errors.New("it has no tokenizer.ggml.model")
	case n == 0:
		return nil, errors.New("tokenizer.ggml.tokens is empty")
	case g.types != nil && len(g.types) != n:
		return nil, fmt.Errorf("tokenizer.ggml.token_type has %d entries, expected %d, as tokenizer.ggml.tokens", len(g.types), n)
	case g.scores != nil && len(g.scores) != n:
		return nil, fmt.Errorf("tokenizer.ggml.scores has %d entries, expected %d, as tokenizer.ggml.tokens", len(g.scores), n)
	}
	if g.types == nil {
		g.types = slices.Repeat([]int32{typeNormal}, n)
	}
	index := inBackground(func() (*model.Vocab, error) { return model.NewVocab(g.pieces, nil) })
	t, err := g.byKind(kind)
	if err != nil {
		return nil, err
	}
	if t.vocab, err = index(); err != nil {
		return nil, err
	}
	return t, g.finish(t)
}

// inBackground starts f, and gives a function that waits for its results. Large
// vocabularies have several indexes, and a process that starts waits for them.
func inBackground[T any](f func() (T, error)) func() (T, error) {
	f = sync.OnceValues(f)
	go f()
	return f
}

func (g *ggufMeta) byKind(kind string) (*Tokenizer, error) {
	switch kind {
	case "llama":
		g.bos, g.eos, g.unknown, g.addBOS = 1, 2, 0, true
		return g.llama()
	case "gpt2", "gemma4":
		return g.gpt2(kind)
	case "bert":
		g.bos, g.unknown, g.sep, g.addBOS, g.addSep = 101, 100, 102, true, true
		return g.bert()
	case "t5":
		g.eos, g.unknown, g.addEOS = 1, 2, true
		return g.t5()
	}
	return nil, fmt.Errorf("tokenizer.ggml.model is %q, expected llama, gpt2, gemma4, bert or t5", kind)
}

// value sets v to what the metadata have for a key, if they have it.
func value[T any](g *ggufMeta, key string, v *T) {
	raw, ok := g.meta[keyPrefix+key]
	if !ok {
		return
	}
	x, ok := raw.(T)
	if !ok && g.err == nil {
		g.err = fmt.Errorf("%s%s has the type %T, expected %T", keyPrefix, key, raw, *v)
	}
	if ok {
		*v = x
	}
}

// id sets v to a token's number that the metadata have, if they have it.
func (g *ggufMeta) id(key string, v *int32) {
	n, ok := int64(0), true
	switch raw := g.meta[keyPrefix+key].(type) {
	case nil:
		return
	case uint32:
		n = int64(raw)
	case int32:
		n = int64(raw)
	case uint64:
		n = int64(min(raw, 1<<62))
	case int64:
		n = raw
	case uint16:
		n = int64(raw)
	case uint8:
		n = int64(raw)
	default:
		ok = false
	}
	switch {
	case g.err != nil:
	case !ok:
		g.err = fmt.Errorf("%s%s has the type %T, expected an integer", keyPrefix, key, g.meta[keyPrefix+key])
	case n == 1<<32-1 || n == -1: // how converters write that there is none
		*v = model.None
	case n < 0 || n >= int64(len(g.pieces)):
		g.err = fmt.Errorf("%s%s is %d, expected less than the %d tokens", keyPrefix, key, n, len(g.pieces))
	default:
		*v = int32(n)
	}
}

// isControl tells tokens that text is never turned into by itself.
func (g *ggufMeta) isControl(id int32) bool {
	return g.types[id] == typeControl || g.types[id] == typeUnknown
}

// vocab indexes the pieces that text may be turned into.
func (g *ggufMeta) vocab() (*model.Vocab, error) { return model.NewVocab(g.pieces, g.isControl) }

// finish sets what does not depend on the kind of tokenizer.
func (g *ggufMeta) finish(t *Tokenizer) error {
	for key, v := range map[string]*int32{"bos_token_id": &g.bos, "eos_token_id": &g.eos, "seperator_token_id": &g.sep} {
		if g.meta[keyPrefix+key] == nil {
			*v = g.usual(*v)
		}
		g.id(key, v)
	}
	value(g, "add_bos_token", &g.addBOS)
	value(g, "add_eos_token", &g.addEOS)
	value(g, "add_sep_token", &g.addSep)
	t.pieces = g.pieces
	t.bos = g.bos
	ends := []int32{g.eos, model.None, model.None}
	g.id("eot_token_id", &ends[1])
	g.id("eom_token_id", &ends[2])
	t.special = make([]bool, len(g.pieces))
	for i := range t.special {
		t.special[i] = g.isControl(int32(i))
	}
	t.setEnds(ends)
	var tokens []addedToken
	for i, piece := range g.pieces {
		if t.special[i] || g.types[i] == typeUserDefined {
			tokens = append(tokens, addedToken{ID: int32(i), Content: piece, Special: t.special[i]})
		}
	}
	g.strips(tokens)
	t.before, t.after = g.around(t)
	return t.setAdded(tokens)
}

// usual gives the number that a special token has where a file does not say, or
// None if this vocabulary has something else there.
func (g *ggufMeta) usual(id int32) int32 {
	if id = g.inRange(id); id != model.None && g.meta[keyPrefix+"token_type"] != nil && !g.isControl(id) {
		return model.None
	}
	return id
}

// inRange gives None for a number that is too large.
func (g *ggufMeta) inRange(id int32) int32 {
	if int(id) >= len(g.pieces) {
		return model.None
	}
	return id
}

// around gives what AddSpecial puts before and after a text.
func (g *ggufMeta) around(t *Tokenizer) (before, after []int32) {
	if g.addBOS && t.bos != model.None {
		before = []int32{t.bos}
	}
	if g.addEOS && g.eos != model.None {
		after = append(after, g.eos)
	} else if g.addSep && g.sep != model.None {
		after = append(after, g.sep)
	}
	return before, after
}
