package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/token/bytelevel"
	"github.com/salver-ml/salver/internal/token/decode"
	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/pattern"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// ranks is what belongs to a list of ranks and is not in it.
type ranks struct {
	cut     string
	special map[string]int32
	bos     string
	eos     []string
}

const (
	cutCL100K = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`
	endOfText = "<|endoftext|>"
)

// encodings are the known lists, by the names of their files.
var encodings = map[string]ranks{
	"r50k_base":   {cut: cutGPT2 + `|\s+`, special: map[string]int32{endOfText: 50256}},
	"p50k_base":   {cut: cutGPT2 + `|\s+`, special: map[string]int32{endOfText: 50256}},
	"p50k_edit":   {cut: cutGPT2 + `|\s+`, special: map[string]int32{endOfText: 50256, "<|fim_prefix|>": 50281, "<|fim_middle|>": 50282, "<|fim_suffix|>": 50283}},
	"cl100k_base": {cut: cutCL100K, special: map[string]int32{endOfText: 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260, "<|endofprompt|>": 100276}},
	"o200k_base":  {cut: cutGPT4o, special: map[string]int32{endOfText: 199999, "<|endofprompt|>": 200018}},
	"qwen":        {cut: cutQwen2, special: map[string]int32{endOfText: 151643, "<|im_start|>": 151644, "<|im_end|>": 151645}},
}

// fromTiktoken reads a list of ranks: a piece in base64 and its number in each line.
func fromTiktoken(name string, data []byte, c *config) (*Tokenizer, error) {
	known, ok := encodings[strings.TrimSuffix(path.Base(name), ".tiktoken")]
	if !ok {
		return nil, fmt.Errorf("a list of ranks says nothing of how text is cut, and the name is none of %s: expected a tokenizer.json beside it", strings.Join(encodingNames(), ", "))
	}
	texts, err := parseRanks(string(data))
	if err != nil {
		return nil, err
	}
	tokens := slices.Clone(c.added)
	for text, id := range known.special {
		if !slices.ContainsFunc(tokens, func(a addedToken) bool { return a.ID == id || a.Content == text }) {
			tokens = append(tokens, addedToken{ID: id, Content: text, Special: true})
		}
	}
	return fromRanks(texts, tokens, known.cut, c)
}

func encodingNames() (names []string) {
	for name := range encodings {
		names = append(names, name+".tiktoken")
	}
	slices.Sort(names)
	return names
}

func parseRank(line string) (piece []byte, rank int, err error) {
	text, number, ok := strings.Cut(line, " ")
	if !ok {
		return nil, 0, errors.New("expected a piece in base64, a blank, and a number")
	}
	if piece, err = base64.StdEncoding.DecodeString(text); err != nil {
		return nil, 0, err
	}
	rank, err = strconv.Atoi(strings.TrimSuffix(number, "\r"))
	return piece, rank, err
}

// parseRanks gives the pieces by their numbers.
func parseRanks(data string) ([]string, error) {
	lines := strings.Split(strings.TrimSuffix(data, "\n"), "\n")
	texts := make([]string, len(lines))
	for i, line := range lines {
		piece, rank, err := parseRank(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		most := 2*len(lines) + 1<<16
		if rank < 0 || rank >= most || len(piece) == 0 {
			return nil, fmt.Errorf("line %d: a piece of %d bytes has the number %d, expected one of some bytes and less than %d", i+1, len(piece), rank, most)
		}
		for rank >= len(texts) {
			texts = append(texts, "")
		}
		if texts[rank] != "" {
			return nil, fmt.Errorf("line %d: the number %d is taken", i+1, rank)
		}
		texts[rank] = string(piece)
	}
	return texts, nil
}

// fromRanks makes a tokenizer whose merges follow from the order of its pieces.
func fromRanks(texts []string, tokens []addedToken, cut string, c *config) (*Tokenizer, error) {
	p, err := pattern.Compile(cut, pattern.Perl)
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{
		steps:   []pretokenize.Step{pretokenize.Regexp{Pattern: p}},
		decoder: decode.Decoder{Spelling: decode.ByteLevel},
		bos:     model.None,
	}
	m := &hfModel{t: t, pieces: make([]string, len(texts)), scores: make([]float64, len(texts)), outside: make([]bool, len(texts))}
	for i, text := range texts {
		m.pieces[i] = bytelevel.Encode(text)
	}
	if err := m.add(tokens); err != nil {
		return nil, err
	}
	for len(texts) < len(m.pieces) {
		texts = append(texts, "")
	}
	t.pieces, t.special = m.pieces, make([]bool, len(m.pieces))
	for _, a := range m.tokens {
		t.special[a.ID] = a.Special
	}
	if t.vocab, err = model.NewVocab(t.pieces, nil); err != nil {
		return nil, err
	}
	whole, err := model.NewVocab(texts, nil)
	if err != nil {
		return nil, err
	}
	b := model.NewBPE(t.vocab, model.BPEOptions{Alphabet: byteAlphabet(t.vocab), Whole: whole, Unknown: model.None})
	if err := b.AddUnions(func(x, y int32) int { return int(x) - int(y) }, nil, texts); err != nil {
		return nil, err
	}
	t.model = b
	if err := m.finish(c); err != nil {
		return nil, err
	}
	c.around(t)
	return t, nil
}
