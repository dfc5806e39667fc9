package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/token/decode"
	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/normalize"
)

// maxFile bounds the files of a tokenizer, in bytes.
const maxFile = 256 << 20

// FromFolder reads the tokenizer of a model's folder: tokenizer.json, else
// tekken.json, tokenizer.model, a file that ends in .tiktoken, or vocab.txt. The files
// tokenizer_config.json and special_tokens_map.json beside it say what its
// special tokens are for.
func FromFolder(fsys fs.FS) (*Tokenizer, error) {
	c, err := readConfig(fsys)
	if err != nil {
		return nil, err
	}
	for _, name := range candidates(fsys) {
		data, err := readFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			var t *Tokenizer
			if t, err = fromFile(name, data, c); err == nil {
				return t, nil
			}
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return nil, errors.New("the folder has no tokenizer: expected tokenizer.json, tekken.json, tokenizer.model, vocab.txt or a .tiktoken file")
}

func candidates(fsys fs.FS) []string {
	list := []string{"tokenizer.json", "tekken.json", "tokenizer.model"}
	ranks, _ := fs.Glob(fsys, "*.tiktoken")
	spiece, _ := fs.Glob(fsys, "*.model")
	return slices.Concat(list, ranks, spiece, []string{"vocab.txt"})
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("it has %d bytes, expected at most %d", info.Size(), maxFile)
	}
	return fs.ReadFile(fsys, name)
}

func fromFile(name string, data []byte, c *config) (*Tokenizer, error) {
	switch {
	case name == "tekken.json":
		return fromTekken(data, c)
	case path.Ext(name) == ".json":
		return fromHuggingFace(data, c)
	case name == "vocab.txt":
		return fromVocabText(data, c)
	case path.Ext(name) == ".tiktoken" || isTiktoken(data):
		return fromTiktoken(name, data, c)
	}
	t, err := fromSentencePiece(data)
	if err == nil {
		c.around(t)
	}
	return t, err
}

// config is what tokenizer_config.json and special_tokens_map.json say.
type config struct {
	tokens map[string]string // such as bos_token, by what is written there
	added  []addedToken
	class  string
	addBOS *bool
	addEOS *bool
	lower  bool
}

func readConfig(fsys fs.FS) (*config, error) {
	c := &config{tokens: map[string]string{}, lower: true}
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		data, err := readFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = c.read(data)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return c, nil
}

func (c *config) read(data []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	for _, key := range []string{"bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "pad_token", "mask_token"} {
		if text, ok := tokenText(fields[key]); ok {
			c.tokens[key] = text
		}
	}
	for key, v := range map[string]any{"tokenizer_class": &c.class, "add_bos_token": &c.addBOS, "add_eos_token": &c.addEOS, "do_lower_case": &c.lower} {
		if raw := fields[key]; !isNull(raw) {
			if err := json.Unmarshal(raw, v); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	var numbered map[string]addedToken
	if raw := fields["added_tokens_decoder"]; !isNull(raw) {
		if err := json.Unmarshal(raw, &numbered); err != nil {
			return fmt.Errorf("added_tokens_decoder: %w", err)
		}
	}
	for key, a := range numbered {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil {
			return fmt.Errorf("added_tokens_decoder: %w", err)
		}
		a.ID = int32(id)
		c.added = append(c.added, a)
	}
	sort.Slice(c.added, func(i, j int) bool { return c.added[i].ID < c.added[j].ID })
	return nil
}

// tokenText reads a token that is written as its text, or as an object with it.
func tokenText(raw json.RawMessage) (string, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text != "" {
		return text, true
	}
	var v struct {
		Content string `json:"content"`
	}
	return v.Content, json.Unmarshal(raw, &v) == nil && v.Content != ""
}

// missing gives the added tokens that are not in a list.
func (c *config) missing(list []addedToken) (more []addedToken) {
	for _, a := range c.added {
		if !slices.ContainsFunc(list, func(b addedToken) bool { return b.Content == a.Content }) {
			more = append(more, a)
		}
	}
	return more
}

// id gives the number of a token by its use, or None.
func (c *config) id(t *Tokenizer, use string) int32 {
	if text := c.tokens[use]; text != "" {
		return t.vocab.ID(text)
	}
	return model.None
}

// around follows add_bos_token and add_eos_token.
func (c *config) around(t *Tokenizer) {
	if bos := c.id(t, "bos_token"); bos != model.None {
		t.bos = bos
	}
	if eos := c.id(t, "eos_token"); eos != model.None && !slices.Contains(t.eos, eos) {
		t.eos = append([]int32{eos}, t.eos...)
		t.special[eos] = true
	}
	if c.addBOS != nil && t.bos != model.None {
		t.before = slices.DeleteFunc(t.before, func(id int32) bool { return id == t.bos })
		if *c.addBOS {
			t.before = append([]int32{t.bos}, t.before...)
		}
	}
	if c.addEOS != nil && len(t.eos) > 0 {
		eos := t.eos[0]
		t.after = slices.DeleteFunc(t.after, func(id int32) bool { return id == eos })
		if *c.addEOS {
			t.after = append(t.after, eos)
		}
	}
}

// fromVocabText reads BERT's list of pieces, one a line.
func fromVocabText(data []byte, c *config) (*Tokenizer, error) {
	pieces := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i := range pieces {
		pieces[i] = strings.TrimSuffix(pieces[i], "\r")
	}
	t := &Tokenizer{pieces: pieces, special: make([]bool, len(pieces)), steps: bertSteps, bos: model.None}
	var err error
	if t.vocab, err = model.NewVocab(pieces, nil); err != nil {
		return nil, err
	}
	var tokens []addedToken
	for _, piece := range []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} {
		if id := t.vocab.ID(piece); id != model.None {
			t.special[id] = true
			tokens = append(tokens, addedToken{ID: id, Content: piece, Special: true})
		}
	}
	cls, sep, unknown := t.vocab.ID("[CLS]"), t.vocab.ID("[SEP]"), t.vocab.ID("[UNK]")
	if cls == model.None || sep == model.None {
		return nil, errors.New("expected the pieces [CLS] and [SEP]")
	}
	t.before, t.after = []int32{cls}, []int32{sep}
	lower := c.lower && !slices.ContainsFunc(pieces, isCapital)
	t.normalize = normalize.Bert{Clean: true, Chinese: true, StripAccents: lower, Lowercase: lower}.Func()
	t.decoder = decode.Decoder{Rewrites: []decode.Rewrite{decode.WordPiece("##"), decode.Cleanup}}
	m := &hfModel{t: t, pieces: pieces, outside: make([]bool, len(pieces))}
	unk := "[UNK]"
	if m.fields.UnkToken = &unk; unknown == model.None {
		return nil, errors.New("expected the piece [UNK]")
	}
	if t.model, err = m.wordPiece(); err != nil {
		return nil, err
	}
	return t, t.setAdded(tokens)
}

// isCapital tells pieces that a vocabulary without capitals does not have.
func isCapital(piece string) bool {
	return len(piece) == 1 && piece[0] >= 'A' && piece[0] <= 'Z'
}

// isTiktoken tells lists of ranks from SentencePiece models.
func isTiktoken(data []byte) bool {
	line, _, _ := bytes.Cut(data[:min(len(data), 200)], []byte("\n"))
	_, _, err := parseRank(string(line))
	return err == nil
}
