package token

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/bytelevel"
	"github.com/salver-ml/salver/internal/token/decode"
	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/normalize"
	"github.com/salver-ml/salver/internal/token/pattern"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// llama is SentencePiece's byte-pair encoding: merges by the pieces' scores.
func (g *ggufMeta) llama() (*Tokenizer, error) {
	if g.scores == nil {
		return nil, errors.New("it has no tokenizer.ggml.scores")
	}
	prefix := true
	value(g, "add_space_prefix", &prefix)
	g.id("unknown_token_id", &g.unknown)
	m, err := scoreBPE(g.pieces, g.scores, g.types, g.inRange(g.unknown))
	if err != nil {
		return nil, err
	}
	return &Tokenizer{
		model:     m,
		normalize: normalize.SentencePiece{Prefix: prefix}.Func(),
		steps:     []pretokenize.Step{beforeMarks(g.pieces)},
		decoder:   sentencePieceDecoder(prefix, false),
	}, nil
}

// scoreBPE makes a model whose merges follow from scores.
func scoreBPE(pieces []string, scores []float32, types []int32, unknown int32) (*model.BPE, error) {
	hidden := func(id int32) bool { return types[id] == typeControl || types[id] == typeUnknown }
	v, err := model.NewVocab(pieces, hidden)
	if err != nil {
		return nil, err
	}
	for id, s := range scores {
		if s != s {
			return nil, fmt.Errorf("the score of token %d is not a number", id)
		}
	}
	m := model.NewBPE(v, model.BPEOptions{Unknown: unknown, Fuse: true, ByteFallback: true, Late: true})
	unmerged := func(id int32) bool { return hidden(id) || types[id] == typeByte }
	return m, m.AddUnions(model.ByScore(scores), unmerged, pieces)
}

// sentencePieceDecoder undoes what SentencePiece's normalization adds: the blank
// at the beginning, or, where it keeps none there, all of them.
func sentencePieceDecoder(prefix, squeeze bool) decode.Decoder {
	d := decode.Decoder{Rewrites: []decode.Rewrite{decode.Replace(normalize.Mark, " ")}, Spelling: decode.ByteFallback, Trim: " "}
	switch {
	case squeeze:
		d.TrimStart = math.MaxInt32
	case prefix:
		d.TrimStart = 1
	}
	return d
}

// beforeMarks cuts where SentencePiece's mark follows a character that no piece
// has before a mark. No merge reaches across such a place, so the pieces are the
// same as those of the whole text; but words are shorter, and repeat.
func beforeMarks(pieces []string) pretokenize.Step {
	glued := map[rune]bool{}
	for _, p := range pieces {
		body := strings.TrimLeft(p, normalize.Mark)
		for {
			before, after, ok := strings.Cut(body, normalize.Mark)
			if !ok {
				break
			}
			r, _ := utf8.DecodeLastRuneInString(before)
			glued[r] = true
			body = strings.TrimLeft(after, normalize.Mark)
		}
	}
	return pretokenize.Marks{Mark: normalize.Mark, Glued: glued}
}

func must(p *pattern.Pattern, err error) *pattern.Pattern {
	if err != nil {
		panic(err)
	}
	return p
}

// gpt2 is byte-pair encoding with listed merges, of bytes or of characters.
func (g *ggufMeta) gpt2(kind string) (*Tokenizer, error) {
	name := kind
	if kind == "gpt2" {
		name = "default"
		value(g, "pre", &name)
	}
	pre, ok := preTokenizers[name]
	if !ok {
		return nil, fmt.Errorf("tokenizer.ggml.pre is %q, which is unknown", name)
	}
	g.addBOS, g.addSep = pre.addBOS, pre.addSep
	t := &Tokenizer{}
	steps := inBackground(pre.steps)
	v, err := g.vocab()
	if err != nil {
		return nil, err
	}
	if t.steps, err = steps(); err != nil {
		return nil, err
	}
	o := model.BPEOptions{Unknown: model.None, Late: true}
	texts := g.pieces
	if pre.marks {
		t.normalize = normalize.ReplaceString(" ", normalize.Mark)
		t.decoder = sentencePieceDecoder(false, false)
		o.ByteFallback = true
		t.steps = append(t.steps, beforeMarks(g.pieces))
	} else {
		t.decoder = decode.Decoder{Spelling: decode.ByteLevel}
		o.Alphabet = byteAlphabet(v)
		if pre.whole || pre.ranks {
			texts = byteTexts(g.pieces)
		}
	}
	whole := inBackground(func() (*model.Vocab, error) { return g.whole(pre, texts) })
	m := model.NewBPE(v, o)
	if err := g.addMerges(m, pre.ranks, texts); err != nil {
		return nil, err
	}
	t.model = m
	m.Whole, err = whole()
	return t, err
}

// whole indexes the words that are not merged.
func (g *ggufMeta) whole(pre preTokenizer, texts []string) (*model.Vocab, error) {
	switch {
	case pre.whole:
		return model.NewVocab(texts, g.isControl)
	case pre.wholeBreaks:
		return model.NewVocab(texts, func(id int32) bool { return g.isControl(id) || strings.Trim(texts[id], "\n") != "" })
	}
	return nil, nil
}

func (g *ggufMeta) addMerges(m *model.BPE, ranks bool, texts []string) error {
	var merges []string
	value(g, "merges", &merges)
	switch {
	case merges != nil:
		for i, merge := range merges {
			if left, right := splitMerge(merge); left == "" || right == "" {
				return fmt.Errorf("tokenizer.ggml.merges: merge %d is %q, expected two pieces with a blank between", i, merge)
			}
		}
		return m.AddMerges(len(merges), func(i int) (string, string) { return splitMerge(merges[i]) })
	case ranks:
		return m.AddUnions(func(x, y int32) int { return int(x) - int(y) }, g.isControl, texts)
	}
	return errors.New("it has no tokenizer.ggml.merges")
}

// splitMerge gives both sides of a merge, or "" for what is missing. A blank can
// be the left side itself.
func splitMerge(merge string) (left, right string) {
	if at := strings.IndexByte(merge[min(1, len(merge)):], ' '); at >= 0 {
		return merge[:at+1], merge[at+2:]
	}
	return "", ""
}

// byteAlphabet finds the pieces of single bytes.
func byteAlphabet(v *model.Vocab) *[256]int32 {
	var ids [256]int32
	for b := range ids {
		ids[b] = v.ID(string(bytelevel.Rune(byte(b))))
	}
	return &ids
}

// byteTexts gives the bytes that pieces in GPT-2's alphabet stand for; "" for others.
func byteTexts(pieces []string) []string {
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	all, texts := make([]byte, 0, size), make([]string, len(pieces))
	ends := make([]int, len(pieces))
	for i, p := range pieces {
		all, _ = bytelevel.AppendDecoded(all, p)
		ends[i] = len(all)
	}
	joined, at := string(all), 0
	for i, end := range ends {
		texts[i] = joined[at:end]
		at = end
	}
	return texts
}

// bert is WordPiece, whose vocabulary marks the pieces that begin a word.
func (g *ggufMeta) bert() (*Tokenizer, error) {
	lower := true
	value(g, "normalizer.lowercase", &lower)
	strip := lower
	value(g, "normalizer.strip_accents", &strip)
	g.id("unknown_token_id", &g.unknown)
	heads, tails := make([]string, len(g.pieces)), make([]string, len(g.pieces))
	for i, p := range g.pieces {
		if head, ok := strings.CutPrefix(p, normalize.Mark); ok {
			heads[i] = head
		} else if !g.isControl(int32(i)) {
			tails[i] = p
		}
	}
	m, err := wordPiece(heads, tails, g.inRange(g.unknown), maxWord)
	return &Tokenizer{
		model:     m,
		normalize: normalize.Bert{Clean: true, Chinese: true, StripAccents: strip, Lowercase: lower}.Func(),
		steps:     bertSteps,
		decoder:   decode.Decoder{Rewrites: []decode.Rewrite{decode.Replace(normalize.Mark, " ")}, Trim: " ", TrimStart: 1},
	}, err
}

// maxWord is the length from which on GGUF's WordPiece takes words for unknown:
// none reaches it.
const maxWord = math.MaxInt32

func wordPiece(heads, tails []string, unknown int32, maxLength int) (*model.WordPiece, error) {
	if unknown == model.None {
		return nil, errors.New("a WordPiece vocabulary needs a token for unknown words")
	}
	h, err := model.NewVocab(heads, nil)
	if err != nil {
		return nil, err
	}
	tl, err := model.NewVocab(tails, nil)
	return model.NewWordPiece(h, tl, unknown, maxLength), err
}

var bertSteps = []pretokenize.Step{
	pretokenize.Runes{Is: pretokenize.IsSpace, Behavior: pretokenize.Removed},
	pretokenize.Runes{Is: pretokenize.IsPunctuation, Behavior: pretokenize.Isolated},
}

// t5 is a unigram language model.
func (g *ggufMeta) t5() (*Tokenizer, error) {
	if g.scores == nil {
		return nil, errors.New("it has no tokenizer.ggml.scores")
	}
	var charsmap []byte
	if raw, ok := g.meta[keyPrefix+"precompiled_charsmap"].([]int8); ok {
		for _, b := range raw {
			charsmap = append(charsmap, byte(b))
		}
	} else {
		value(g, "precompiled_charsmap", &charsmap)
	}
	n := normalize.SentencePiece{}
	value(g, "add_space_prefix", &n.Prefix)
	value(g, "remove_extra_whitespaces", &n.Squeeze)
	g.id("unknown_token_id", &g.unknown)
	return sentencePieceUnigram(n, charsmap, g.pieces, g.scores, g.types, g.inRange(g.unknown), false)
}
