package token

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/testkit"
)

func small(t testing.TB, meta map[string]any) *Tokenizer {
	t.Helper()
	tok, err := FromGGUF(meta)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func pieces(tok *Tokenizer, list []int32) string {
	var out []string
	for _, id := range list {
		out = append(out, tok.Piece(id))
	}
	return strings.Join(out, " ")
}

func TestSpecialTokens(t *testing.T) {
	tok := small(t, smallGGUF())
	for _, c := range []struct {
		text string
		o    EncodeOptions
		want string
	}{
		{"the<s>the", EncodeOptions{}, "the < s > the"},
		{"the<s> the", EncodeOptions{ParseSpecial: true}, "the <s> Ġthe"},
		{"the", EncodeOptions{AddSpecial: true}, "<s> the"},
		{"", EncodeOptions{AddSpecial: true}, "<s>"},
		{"<u>th<|im_end|>", EncodeOptions{}, "<u> th < | i m _ e n d | >"},
		{"<u>th<|im_end|>", EncodeOptions{AddSpecial: true, ParseSpecial: true}, "<s> <u> th <|im_end|>"},
		{"<|im_end", EncodeOptions{ParseSpecial: true}, "< | i m _ e n d"},
	} {
		if got := pieces(tok, tok.Encode(c.text, c.o)); got != c.want {
			t.Errorf("%q %+v: %q, expected %q", c.text, c.o, got, c.want)
		}
	}
	bos, ok := tok.BOS()
	if !ok || bos != 259 || !slices.Equal(tok.EOS(), []int32{260}) {
		t.Errorf("BOS %d %v, EOS %v", bos, ok, tok.EOS())
	}
	if !tok.IsSpecial(260) || tok.IsSpecial(261) || tok.IsSpecial(-1) || tok.IsSpecial(1000) {
		t.Error("IsSpecial")
	}
	if id, ok := tok.ID("Ġthe"); !ok || id != 258 || string(tok.Bytes(id)) != " the" {
		t.Errorf("Ġthe is %d %v, %q", id, ok, tok.Bytes(id))
	}
	if _, ok := tok.ID("nope"); ok {
		t.Error("nope has a number")
	}
	if tok.Piece(-1) != "" || tok.Bytes(9999) != nil || tok.Size() != 262 {
		t.Error("out of range")
	}
	all := []int32{259, 257, 261, 260, -5, 9999}
	if got := tok.Decode(all, true); got != "the<u>" {
		t.Errorf("without special tokens: %q", got)
	}
	if got := tok.Decode(all, false); got != "<s>the<u><|im_end|>" {
		t.Errorf("with special tokens: %q", got)
	}
}

func TestEndsOfGeneration(t *testing.T) {
	build := func(names ...string) *Tokenizer {
		m := smallGGUF()
		m[keyPrefix+"tokens"] = bytePieces(names...)
		types := slices.Repeat([]int32{typeNormal}, 256)
		for range names {
			types = append(types, typeControl)
		}
		m[keyPrefix+"token_type"], m[keyPrefix+"merges"] = types, []string{}
		m[keyPrefix+"bos_token_id"], m[keyPrefix+"eos_token_id"] = uint32(256), uint32(257)
		return small(t, m)
	}
	for _, c := range []struct{ names, want string }{
		{"<s> </s> x", "</s>"},
		{"<s> x <|eot_id|> <|eom_id|>", "x <|eot_id|> <|eom_id|>"},
		{"<s> x <|end|> <|endoftext|>", "x <|end|> <|endoftext|>"},
		{"<s> <|return|> <|call|> <|end|>", "<|return|> <|call|>"}, // there it ends one message of several
	} {
		tok := build(strings.Fields(c.names)...)
		if got := pieces(tok, tok.EOS()); got != c.want {
			t.Errorf("%s: %q, expected %q", c.names, got, c.want)
		}
	}
}

// What the files beside tokenizer.json name is special, and around the text if
// they say so.
func TestConfiguration(t *testing.T) {
	tok, err := FromFolder(fstest.MapFS{
		"tokenizer.json": {Data: []byte(`{"added_tokens":[{"id":3,"content":"<s>","special":true}],"pre_tokenizer":{"type":"WhitespaceSplit"},
			"model":{"type":"WordLevel","unk_token":"u","vocab":{"a":0,"u":1,"</s>":2}}}`)},
		"tokenizer_config.json": {Data: []byte(`{"bos_token":{"content":"<s>"},"eos_token":"</s>","add_bos_token":true,"add_eos_token":true,
			"added_tokens_decoder":{"3":{"content":"<s>","special":true},"4":{"content":"<x>","special":true}}}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    EncodeOptions
		want string
	}{
		{EncodeOptions{}, "a u a u a u a u"},
		{EncodeOptions{ParseSpecial: true}, "a </s> a <s> a <x> a u"},
		{EncodeOptions{AddSpecial: true}, "<s> a u a u a u a u </s>"},
	} {
		if got := pieces(tok, tok.Encode("a </s> a <s> a <x> a </t>", c.o)); got != c.want {
			t.Errorf("%+v: %q, expected %q", c.o, got, c.want)
		}
	}
	if bos, _ := tok.BOS(); bos != 3 || !slices.Equal(tok.EOS(), []int32{2}) || !tok.IsSpecial(2) || tok.Size() != 5 {
		t.Errorf("BOS %d, EOS %v, size %d", bos, tok.EOS(), tok.Size())
	}
}

// A usual number counts only where there is a special token.
func TestUsualNumbers(t *testing.T) {
	m := smallSPM()
	tok := small(t, m)
	if bos, ok := tok.BOS(); !ok || bos != 1 || !slices.Equal(tok.EOS(), []int32{2}) {
		t.Errorf("BOS %d %v, EOS %v, expected 1 and 2", bos, ok, tok.EOS())
	}
	types := slices.Clone(m[keyPrefix+"token_type"].([]int32))
	types[1], types[2] = typeNormal, typeNormal
	m[keyPrefix+"token_type"] = types
	tok = small(t, m)
	if _, ok := tok.BOS(); ok || len(tok.EOS()) > 0 || tok.IsSpecial(2) {
		t.Errorf("EOS %v, expected none", tok.EOS())
	}
}

// A text that goes on keeps its first blank.
func TestStreamAfter(t *testing.T) {
	tok := small(t, smallSPM())
	list := tok.Encode("a ab", EncodeOptions{})
	if got := pieces(tok, list); got != "▁a ▁a b" {
		t.Fatalf("pieces %q", got)
	}
	if got := tok.Decode(list, true); got != "a ab" {
		t.Errorf("Decode gives %q", got)
	}
	s := tok.StreamAfter(true)
	if got := s.Push(list[0]) + s.Push(list[1]) + s.Push(list[2]) + s.Flush(); got != " a ab" {
		t.Errorf("StreamAfter gives %q", got)
	}
}

// roundTrips are tokenizers that lose nothing.
func roundTrips(t testing.TB) map[string]*Tokenizer {
	t.Helper()
	all := map[string]*Tokenizer{"bytes": small(t, smallGGUF()), "scores": small(t, smallSPM())}
	_, cases := components(t)
	for _, c := range cases {
		if c.Name == "byte level" || c.Name == "gpt-4" {
			tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: c.Tokenizer}})
			if err != nil {
				t.Fatal(err)
			}
			all[c.Name] = tok
		}
	}
	return all
}

// Any bytes come back from the tokens' bytes, and any text from Decode, at once
// and token by token.
func FuzzRoundTrip(f *testing.F) {
	toks := roundTrips(f)
	for _, text := range []string{"", " ", "the th the", "a\xffb\xf0\x9f\x98", "😀 é e\u0301", "<s>the<|im_end|><u>", strings.Repeat("ab", 100), "▁a ▁", "  \n\n \t x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, tok := range toks {
			list := tok.Encode(text, EncodeOptions{})
			if name != "scores" {
				var b []byte
				for _, id := range list {
					b = append(b, tok.Bytes(id)...)
				}
				if string(b) != text {
					t.Errorf("%s: %q is the bytes %q", name, text, b)
				}
			}
			out := tok.Decode(list, false)
			if utf8.ValidString(text) && out != strings.ReplaceAll(text, "▁", map[bool]string{true: " ", false: "▁"}[name == "scores"]) {
				t.Errorf("%s: %q comes back as %q", name, text, out)
			}
			s, joined := tok.Stream(false), ""
			for _, id := range list {
				part := s.Push(id)
				if !utf8.ValidString(part) {
					t.Errorf("%s: %q has the part %q", name, text, part)
				}
				joined += part
			}
			if joined += s.Flush(); joined != out {
				t.Errorf("%s: %q is streamed as %q, decoded as %q", name, text, joined, out)
			}
		}
	})
}

func FuzzTokenizerJSON(f *testing.F) {
	_, cases := components(f)
	for _, c := range cases {
		f.Add(string(c.Tokenizer), "Hello, wörld 日本 1234")
	}
	f.Fuzz(func(t *testing.T, file, text string) {
		tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: []byte(file)}})
		if err == nil && len(text) < 1000 {
			checkRange(t, tok, text)
		}
	})
}

func FuzzGGUF(f *testing.F) {
	f.Add("gpt2", "qwen2", "a b ab <s>", "a b|ab c", []byte{1, 1, 1, 3}, "ab<s>x")
	f.Add("llama", "", "<unk> <s> </s> ▁ a b ab", "", []byte{2, 3, 3, 1, 1, 1, 4}, "ab a\xff")
	f.Add("bert", "", "[UNK] ▁a b", "", []byte{3, 1, 1}, "ab a")
	f.Add("t5", "", "<pad> </s> <unk> ▁ a ab", "\x00\x00\x00\x00", []byte{3, 3, 2, 1, 1, 1}, "ab a")
	f.Add("gemma4", "", "a b ab ▁a", "a b|▁ a", []byte{1, 1, 1, 1}, "ab a\n\n")
	f.Fuzz(func(t *testing.T, kind, pre, tokens, merges string, types []byte, text string) {
		list := strings.Split(tokens, " ")
		kinds, scores := make([]int32, len(list)), make([]float32, len(list))
		for i := range list {
			scores[i] = -float32(i % 7)
			if i < len(types) {
				kinds[i] = int32(types[i])
			}
		}
		meta := map[string]any{
			keyPrefix + "model": kind, keyPrefix + "tokens": list, keyPrefix + "token_type": kinds, keyPrefix + "scores": scores,
			keyPrefix + "merges": strings.Split(merges, "|"), keyPrefix + "precompiled_charsmap": []byte(merges),
		}
		if pre != "" {
			meta[keyPrefix+"pre"] = pre
		}
		tok, err := FromGGUF(meta)
		if err == nil && len(text) < 1000 {
			checkRange(t, tok, text)
		}
	})
}

func FuzzModelFile(f *testing.F) {
	f.Add([]byte("\x0a\x0c\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02\x0a\x08\x0a\x01a\x15\x00\x00\x80\xbf\x12\x02\x18\x01"), "a b")
	f.Add([]byte("YQ== 0\nYg== 1\nYWI= 2\n"), "ab")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		for _, name := range []string{"tokenizer.model", "qwen.tiktoken", "vocab.txt"} {
			tok, err := FromFolder(fstest.MapFS{name: {Data: data}})
			if err == nil && len(text) < 1000 {
				checkRange(t, tok, text)
			}
		}
	})
}

// Long texts of a kind that is slow where time grows with the square of a run.
func TestLongRuns(t *testing.T) {
	const n = 1 << 18
	_, cases := components(t)
	toks := map[string]*Tokenizer{}
	for _, c := range cases[:8] {
		tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: c.Tokenizer}})
		if err != nil {
			t.Fatal(err)
		}
		toks[c.Name] = tok
	}
	if file, err := testkit.Find(t, "tokenizers/gguf-vocab"); err == nil {
		for _, name := range []string{"llama-bpe", "llama-spm", "gemma-4", "deepseek-llm", "bert-bge"} {
			toks[name] = openGGUF(t, filepath.Join(file, "ggml-vocab-"+name+".gguf"))
		}
	}
	for name, tok := range toks {
		for _, unit := range []string{"a", " ", "日", "7", "-", "\n", "e\u0301", "\xff", "a b", "▁"} {
			text := strings.Repeat(unit, n/4/len(unit))
			if unit == "a" {
				text = strings.Repeat(unit, n)
			}
			done := make(chan int)
			go func() {
				list := tok.Encode(text, EncodeOptions{ParseSpecial: true})
				tok.Decode(list, true)
				done <- len(list)
			}()
			select {
			case <-done:
			case <-time.After(60 * time.Second):
				t.Fatalf("%s: no end of %d bytes of %q after a minute", name, len(text), unit)
			}
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := small(t, smallGGUF())
	want := tok.Encode("the th the", EncodeOptions{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if got := tok.Encode("the th the", EncodeOptions{}); !slices.Equal(got, want) {
					t.Errorf("%v, expected %v", got, want)
				}
			}
		})
	}
	wg.Wait()
}
