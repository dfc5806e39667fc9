package token

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/salver-ml/salver/internal/token/model"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// Entry is a key of a GGUF file's metadata with its value.
type Entry struct {
	Key   string
	Value any
}

// ToGGUF states the tokenizer of a model's folder as the metadata of a GGUF file,
// with a vocabulary of size pieces: those that the tokenizer lacks are unused.
// ends are the tokens that end an answer, the one that is called the EOS token
// first. A tokenizer that gives other numbers for a text once it is read back is
// an error.
func ToGGUF(fsys fs.FS, size int, ends []int32) ([]Entry, error) {
	w, err := newGGUFWriter(fsys)
	if err != nil {
		return nil, fmt.Errorf("the tokenizer cannot be stated in a GGUF file: %w", err)
	}
	if n := len(w.pieces); n > size {
		return nil, fmt.Errorf("the tokenizer has %d pieces, and the model a vocabulary of %d", n, size)
	}
	for i := range size {
		if i == len(w.pieces) {
			w.pieces, w.types, w.scores = append(w.pieces, ""), append(w.types, typeUnused), append(w.scores, unreachable)
		}
		if w.pieces[i] == "" {
			w.pieces[i], w.types[i] = fmt.Sprintf("[PAD%d]", i), typeUnused
		}
	}
	return w.entries(ends)
}

// unreachable is the score of pieces that no merge makes.
const unreachable = -1e6

// ggufWriter holds what is known of a tokenizer.
type ggufWriter struct {
	t      *Tokenizer
	kind   string // tokenizer.ggml.model
	pre    string
	pieces []string
	types  []int32
	scores []float32
	merges []string
}

func newGGUFWriter(fsys fs.FS) (*ggufWriter, error) {
	c, err := readConfig(fsys)
	if err != nil {
		return nil, err
	}
	data, err := readFile(fsys, "tokenizer.json")
	if errors.Is(err, fs.ErrNotExist) {
		return fromModelFile(fsys, c)
	}
	if err != nil {
		return nil, err
	}
	m, err := parseHuggingFace(data, c)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if m.kind != "BPE" {
		return nil, fmt.Errorf("it is a %s model; only BPE ones are converted", m.kind)
	}
	merges, err := scanMerges(m.fields.merges)
	if err != nil {
		return nil, err
	}
	w := &ggufWriter{t: m.t, pieces: slices.Clone(m.pieces), types: typesOf(m.t, m.pieces, m.tokens)}
	if m.fields.ByteFallback {
		w.kind = "llama"
		w.score(merges)
		return w, nil
	}
	w.kind = "gpt2"
	for _, pair := range merges {
		w.merges = append(w.merges, pair[0]+" "+pair[1])
	}
	if w.pre = preName(m.t.steps, m.fields.IgnoreMerges); w.pre == "" {
		return nil, errors.New("none of the ways to cut texts that GGUF files have names for cuts as this one does")
	}
	return w, nil
}

// typesOf gives the types of tokens.
func typesOf(t *Tokenizer, pieces []string, added []addedToken) []int32 {
	types := slices.Repeat([]int32{typeNormal}, len(pieces))
	for _, a := range added {
		types[a.ID] = typeUserDefined
		if a.Special {
			types[a.ID] = typeControl
		}
	}
	for i, s := range t.special {
		if s {
			types[i] = typeControl
		}
	}
	return types
}

// score ranks pieces as SentencePiece does, by the first merge that makes each,
// and marks those of bytes and the unknown one.
func (w *ggufWriter) score(merges [][2]string) {
	w.scores = slices.Repeat([]float32{unreachable}, len(w.pieces))
	for rank, pair := range slices.Backward(merges) {
		if id := w.t.vocab.ID(pair[0] + pair[1]); id != model.None {
			w.scores[id] = -float32(rank)
		}
	}
	for i, p := range w.pieces {
		switch {
		case len(p) == 6 && p[:3] == "<0x" && p[5] == '>':
			w.types[i], w.scores[i] = typeByte, 0
		case p == "<unk>":
			w.types[i], w.scores[i] = typeUnknown, 0
		case w.types[i] == typeControl:
			w.scores[i] = 0
		}
	}
}

// fromModelFile reads SentencePiece's own file, where there is no tokenizer.json.
func fromModelFile(fsys fs.FS, c *config) (*ggufWriter, error) {
	data, err := readFile(fsys, "tokenizer.model")
	if err != nil {
		return nil, fmt.Errorf("expected tokenizer.json or tokenizer.model: %w", err)
	}
	p, err := parseSentencePiece(data)
	if err == nil && p.kind != kindBPE {
		err = errors.New("it is a unigram model; only BPE ones are converted")
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer.model: %w", err)
	}
	t, err := FromFolder(fsys)
	if err != nil {
		return nil, err
	}
	w := &ggufWriter{t: t, kind: "llama", pieces: p.pieces, types: p.types, scores: p.scores}
	for _, a := range c.added {
		for int(a.ID) >= len(w.pieces) && a.ID < 1<<20 {
			w.pieces, w.types, w.scores = append(w.pieces, ""), append(w.types, typeUnused), append(w.scores, unreachable)
		}
		if a.ID >= 0 && int(a.ID) < len(w.pieces) && w.pieces[a.ID] == "" {
			w.pieces[a.ID], w.types[a.ID] = a.Content, typeUserDefined
			if a.Special {
				w.types[a.ID] = typeControl
			}
		}
	}
	return w, nil
}

// entries are the metadata, once they are read back with the same answers.
func (w *ggufWriter) entries(ends []int32) ([]Entry, error) {
	list := []Entry{{"model", w.kind}, {"tokens", w.pieces}, {"token_type", w.types}}
	if w.kind == "gpt2" {
		list = append(list, Entry{"pre", w.pre}, Entry{"merges", w.merges})
	} else {
		list = append(list, Entry{"pre", "default"}, Entry{"scores", w.scores})
	}
	if id, ok := w.t.BOS(); ok {
		list = append(list, Entry{"bos_token_id", uint32(id)})
	}
	for i, key := range []string{"eos_token_id", "eot_token_id", "eom_token_id"} {
		if i < len(ends) {
			list = append(list, Entry{key, uint32(ends[i])})
		}
	}
	for i, t := range w.types {
		if t == typeUnknown {
			list = append(list, Entry{"unknown_token_id", uint32(i)})
			break
		}
	}
	bos, hasBOS := w.t.BOS()
	list = append(list, Entry{"add_bos_token", hasBOS && slices.Contains(w.t.before, bos)},
		Entry{"add_eos_token", len(ends) > 0 && slices.Contains(w.t.after, ends[0])})
	for i := range list {
		list[i].Key = keyPrefix + list[i].Key
	}
	if w.kind == "gpt2" {
		return list, w.same(list)
	}
	var err error
	for _, prefix := range []bool{true, false} { // whether texts begin with a blank is seen by trying
		all := append(slices.Clone(list), Entry{keyPrefix + "add_space_prefix", prefix})
		if err = w.same(all); err == nil {
			return all, nil
		}
	}
	return nil, err
}

// same reads metadata back and compares the numbers of a text that is hard to cut.
func (w *ggufWriter) same(list []Entry) error {
	meta := map[string]any{}
	for _, e := range list {
		meta[e.Key] = e.Value
	}
	back, err := FromGGUF(meta)
	if err != nil {
		return err
	}
	for _, text := range probes {
		o := EncodeOptions{AddSpecial: true, ParseSpecial: true}
		if want, got := w.t.Encode(text, o), back.Encode(text, o); !slices.Equal(want, got) {
			return fmt.Errorf("read back from a GGUF file, the tokenizer would give %v for %q instead of %v", got, text, want)
		}
	}
	return nil
}

// probes are texts in which pre-tokenizers differ: case, contractions, numbers,
// white space, line ends, scripts, punctuation, and what is no letter at all.
var probes = []string{
	"Hello World! It's we'RE I'm DON'T they'll",
	" 3 33 333 3333 33333 1234567.89 x1y2 ３３３ ½",
	"  a  b   c\t\td \n\n\n e\r\nf \n  g   ",
	"!!??...--==[](){}<>/\\ a.b,c;d $£€ ^~|` \"q\" 'q'",
	"Ünïcödé naïve ÀÉ ß ёжик Привет мир 你好，世界 こんにちは カタカナ 안녕하세요 สวัสดี नमस्ते العربية עברית",
	"😀👍🏽 e\u0301 \u200b \u00a0x \ufeff",
	"camelCaseHTTPServer snake_case CONST_9 http://a.b/c?d=e&f=1 #include <x.h>\n\tif (a==b) { return 0; }",
}

// preName finds a name of tokenizer.ggml.pre by which texts are cut in the same
// words. Where several have the same effect, one that most readers know is given.
func preName(steps []pretokenize.Step, whole bool) string {
	want := words(steps)
	for _, name := range []string{"llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "gpt-2", "smollm", "deepseek-llm", "deepseek-coder", "deepseek-v3",
		"glm4", "dbrx", "falcon", "bloom", "viking", "superbpe", "seed-coder", "bailingmoe", "exaone-moe", "youtu", "afmoe", "chameleon", "jais-2", "minicpm5", "default"} {
		p := preTokenizers[name]
		if p.whole != whole || p.ranks || p.marks {
			continue
		}
		if got, err := p.steps(); err == nil && slices.Equal(words(got), want) {
			return name
		}
	}
	return ""
}

// words cuts the probes.
func words(steps []pretokenize.Step) (list []string) {
	var s pretokenize.Scratch
	for _, text := range probes {
		pretokenize.Each(steps, text, true, &s, func(word string) { list = append(list, word) })
	}
	return list
}
