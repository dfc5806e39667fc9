package token

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/bytelevel"
)

// bytePieces are the pieces of a byte-level vocabulary: all bytes, then more.
func bytePieces(more ...string) []string {
	var pieces []string
	for b := range 256 {
		pieces = append(pieces, string(bytelevel.Rune(byte(b))))
	}
	return append(pieces, more...)
}

// smallGGUF is a byte-level vocabulary with two special tokens.
func smallGGUF() map[string]any {
	pieces := bytePieces("th", "the", "Ġthe", "<s>", "<|im_end|>", "<u>")
	types := slices.Repeat([]int32{typeNormal}, len(pieces))
	types[259], types[260], types[261] = typeControl, typeControl, typeUserDefined
	return map[string]any{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.merges": []string{"t h", "th e", "Ġ the"}, "tokenizer.ggml.bos_token_id": uint32(259), "tokenizer.ggml.eos_token_id": uint32(260),
		"tokenizer.ggml.add_bos_token": true,
	}
}

func smallSPM() map[string]any {
	pieces := []string{"<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "ab"}
	for b := range 256 {
		pieces = append(pieces, "<0x"+strings.ToUpper(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15]))+">")
	}
	types := slices.Repeat([]int32{typeByte}, len(pieces))
	copy(types, []int32{typeUnknown, typeControl, typeControl, typeNormal, typeNormal, typeNormal, typeNormal, typeNormal})
	scores := make([]float32, len(pieces))
	copy(scores, []float32{0, 0, 0, -5, -3, -4, -1, -2})
	return map[string]any{"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": pieces, "tokenizer.ggml.token_type": types, "tokenizer.ggml.scores": scores}
}

func TestHostileGGUF(t *testing.T) {
	set := func(base map[string]any, changes ...any) map[string]any {
		m := maps.Clone(base)
		for i := 0; i < len(changes); i += 2 {
			key := keyPrefix + changes[i].(string)
			if m[key] = changes[i+1]; changes[i+1] == nil {
				delete(m, key)
			}
		}
		return m
	}
	g, s := smallGGUF(), smallSPM()
	nan := slices.Clone(s[keyPrefix+"scores"].([]float32))
	nan[5] = float32(math.NaN())
	long := slices.Clone(s[keyPrefix+"tokens"].([]string))
	long[5] = strings.Repeat("b", 5000)
	for _, c := range []struct {
		name string
		meta map[string]any
		want string // in the error; "" if there is none
	}{
		{"good", g, ""},
		{"good, scores", s, ""},
		{"nothing", nil, "no tokenizer.ggml.model"},
		{"no tokens", set(g, "tokens", nil), "tokens is empty"},
		{"empty tokens", set(g, "tokens", []string{}), "tokens is empty"},
		{"tokens of a wrong type", set(g, "tokens", []int32{1}), "type []int32, expected []string"},
		{"model of a wrong type", set(g, "model", 5), "expected string"},
		{"unknown model", set(g, "model", "rwkv"), `"rwkv"`},
		{"unknown pre", set(g, "pre", "nope"), `"nope"`},
		{"types too short", set(g, "token_type", []int32{1}), "has 1 entries"},
		{"scores too long", set(s, "scores", make([]float32, 1000)), "has 1000 entries"},
		{"no scores", set(s, "scores", nil), "no tokenizer.ggml.scores"},
		{"scores that are no numbers", set(s, "scores", nan), "not a number"},
		{"a piece that is too long to merge", set(s, "tokens", long), "5000 bytes"},
		{"no merges", set(g, "merges", nil), "no tokenizer.ggml.merges"},
		{"a merge of one", set(g, "merges", []string{"th"}), "two pieces"},
		{"a merge of nothing", set(g, "merges", []string{""}), "two pieces"},
		{"a merge that ends in a blank", set(g, "merges", []string{"t "}), "two pieces"},
		{"merges of what is no piece", set(g, "merges", []string{"x yy", "xyy z"}), ""},
		{"cyclic and double merges", set(g, "merges", []string{"t h", "t h", "th th", "thth thth", "h t", "ht h"}), ""},
		{"BOS out of range", set(g, "bos_token_id", uint32(1000)), "bos_token_id is 1000"},
		{"EOS that is negative", set(g, "eos_token_id", int32(-7)), "eos_token_id is -7"},
		{"EOS of a wrong type", set(g, "eos_token_id", "x"), "type string, expected an integer"},
		{"no BOS", set(g, "bos_token_id", uint32(math.MaxUint32)), ""},
		{"equal tokens", set(g, "tokens", append(slices.Clone(g[keyPrefix+"tokens"].([]string)[:261]), "th")), ""},
		{"empty token", set(g, "tokens", append(slices.Clone(g[keyPrefix+"tokens"].([]string)[:261]), "")), ""},
		{"bytes missing", set(g, "tokens", []string{"a", "b"}, "token_type", nil, "bos_token_id", nil, "eos_token_id", nil), ""},
		{"bert without an unknown token", set(g, "model", "bert", "tokens", []string{"a"}, "token_type", nil, "bos_token_id", nil, "eos_token_id", nil), "unknown words"},
		{"a damaged charsmap", set(s, "model", "t5", "precompiled_charsmap", []uint8{9, 0, 0, 0, 1}), "charsmap"},
		{"a charsmap of a wrong type", set(s, "model", "t5", "precompiled_charsmap", "x"), "expected []uint8"},
	} {
		tok, err := FromGGUF(c.meta)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, expected one with %q", c.name, err, c.want)
		case err == nil:
			checkRange(t, tok, "the ab xyz\xff日 <s><u>thth")
		}
	}
}

// checkRange fails if encoding gives numbers that are no tokens.
func checkRange(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	for _, o := range []EncodeOptions{{}, {AddSpecial: true, ParseSpecial: true}} {
		got := tok.Encode(text, o)
		for _, id := range got {
			if id < 0 || int(id) >= tok.Size() {
				t.Fatalf("%q gives the number %d of %d", text, id, tok.Size())
			}
		}
		if out := tok.Decode(got, true); !utf8.ValidString(out) {
			t.Fatalf("%q comes back as %q", text, out)
		}
	}
}

func TestHostileJSON(t *testing.T) {
	file := func(parts string) string {
		return `{"model":{"type":"WordLevel","vocab":{"a":0,"<unk>":1},"unk_token":"<unk>"}` + parts + `}`
	}
	model := func(m string) string { return `{"model":` + m + `}` }
	for _, c := range []struct{ name, json, want string }{
		{"good", file(``), ""},
		{"not JSON", `{`, "expected '\"'"},
		{"unknown part", file(`,"speed":1`), `unknown field "speed"`},
		{"no model", `{}`, "model: missing"},
		{"unknown model", model(`{"type":"Magic","vocab":{"a":0}}`), `"Magic" is unknown`},
		{"unknown field of a model", model(`{"type":"BPE","vocab":{"a":0},"merges":[],"magic":1}`), `"magic"`},
		{"empty vocab", model(`{"type":"BPE","vocab":{},"merges":[]}`), ""},
		{"vocab missing", model(`{"type":"BPE","merges":[]}`), "vocab"},
		{"a number that is none", model(`{"type":"BPE","vocab":{"a":-1},"merges":[]}`), "not -1"},
		{"a number that is no integer", model(`{"type":"BPE","vocab":{"a":0.5},"merges":[]}`), "not 0.5"},
		{"a number that is too large", model(`{"type":"BPE","vocab":{"a":2000000000},"merges":[]}`), "out of proportion"},
		{"equal numbers", model(`{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}`), "have the number 0"},
		{"merges of no pieces", model(`{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}`), "merge 0"},
		{"merges of three", model(`{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b c"]}`), "two pieces"},
		{"merges of one", model(`{"type":"BPE","vocab":{"a":0,"b":1},"merges":["ab"]}`), "two pieces"},
		{"dropout", model(`{"type":"BPE","vocab":{"a":0},"merges":[],"dropout":0.1}`), "dropout"},
		{"unknown token missing", model(`{"type":"WordPiece","vocab":{"a":0},"unk_token":"[UNK]"}`), "unk_token"},
		{"no unknown token", model(`{"type":"WordPiece","vocab":{"a":0}}`), "unknown words"},
		{"unigram's unknown out of range", model(`{"type":"Unigram","vocab":[["a",-1]],"unk_id":5}`), "unk_id is 5"},
		{"unigram's score", model(`{"type":"Unigram","vocab":[["a","b"]],"unk_id":0}`), "expected a number"},
		{"added token out of range", file(`,"added_tokens":[{"id":2000000000,"content":"x"}]`), "expected less than"},
		{"negative added token", file(`,"added_tokens":[{"id":-1,"content":"x"}]`), "number -1"},
		{"added token on another", file(`,"added_tokens":[{"id":0,"content":"x"}]`), `that of "a"`},
		{"unknown normalizer", file(`,"normalizer":{"type":"Magic"}`), `normalizer: type "Magic" is unknown`},
		{"unknown field of a normalizer", file(`,"normalizer":{"type":"NFC","x":1}`), `"x"`},
		{"normalizers without end", file(`,"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 50) + strings.Repeat(`]}`, 50)), "sequences in each other"},
		{"a charsmap that is none", file(`,"normalizer":{"type":"Precompiled","precompiled_charsmap":"AAA"}`), "Precompiled"},
		{"a pattern without text", file(`,"normalizer":{"type":"Replace","pattern":{},"content":"x"}`), "neither String nor Regex"},
		{"unknown pre-tokenizer", file(`,"pre_tokenizer":{"type":"Magic"}`), "Magic: this type is unknown"},
		{"back reference", file(`,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a)\\1"},"behavior":"Isolated","invert":false}`), `unsupported escape \1`},
		{"unknown behavior", file(`,"pre_tokenizer":{"type":"Punctuation","behavior":"Magic"}`), `behavior "Magic"`},
		{"metaspace without a character", file(`,"pre_tokenizer":{"type":"Metaspace","replacement":""}`), "expected one character"},
		{"length zero", file(`,"pre_tokenizer":{"type":"FixedLength","length":0}`), "length is 0"},
		{"unknown post-processor", file(`,"post_processor":{"type":"Magic"}`), `"Magic" is unknown`},
		{"template without text", file(`,"post_processor":{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{}}`), "0 times"},
		{"template with an unknown token", file(`,"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{}}`), `"x" is not among`},
		{"template out of range", file(`,"post_processor":{"type":"BertProcessing","sep":["a",0],"cls":["b",99]}`), "token 99"},
		{"unknown decoder", file(`,"decoder":{"type":"Magic"}`), "Magic: this type is unknown"},
		{"decoders in a strange order", file(`,"decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteLevel"}]}`), "only Strip is supported"},
	} {
		tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: []byte(c.json)}})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "tokenizer.json")):
			t.Errorf("%s: error %v, expected one with %q", c.name, err, c.want)
		case err == nil:
			checkRange(t, tok, "a b xyz\xff日")
		}
	}
}

func TestHostileFolders(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"nothing", nil, "has no tokenizer"},
		{"a damaged configuration", map[string]string{"tokenizer_config.json": "["}, "tokenizer_config.json"},
		{"a list of an unknown name", map[string]string{"x.tiktoken": "YQ== 0\n"}, "says nothing of how text is cut"},
		{"no base64", map[string]string{"qwen.tiktoken": "!! 0\n"}, "line 1"},
		{"no number", map[string]string{"qwen.tiktoken": "YQ==\n"}, "line 1"},
		{"a large number", map[string]string{"qwen.tiktoken": "YQ== 900000000\n"}, "line 1"},
		{"a double number", map[string]string{"qwen.tiktoken": "YQ== 0\nYg== 0\n"}, "line 2"},
		{"an empty piece", map[string]string{"qwen.tiktoken": " 0\n"}, "line 1"},
		{"no protobuf", map[string]string{"tokenizer.model": "\xff\xff"}, "not a SentencePiece model"},
		{"an empty model", map[string]string{"tokenizer.model": "\x12\x02\x18\x01"}, "no pieces"},
		{"a word model", map[string]string{"tokenizer.model": "\x0a\x03\x0a\x01a\x12\x02\x18\x03"}, "kind 3"},
		{"an empty piece in a model", map[string]string{"tokenizer.model": "\x0a\x02\x18\x01"}, "piece 0 is empty"},
		{"a list without special pieces", map[string]string{"vocab.txt": "a\nb\n"}, "[CLS]"},
	} {
		fsys := fstest.MapFS{}
		for name, text := range c.files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if _, err := FromFolder(fsys); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected one with %q", c.name, err, c.want)
		}
	}
}
