package token

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/salver-ml/salver/internal/testkit"
)

// entry finds a value among those of ToGGUF.
func entry(list []Entry, key string) any {
	for _, e := range list {
		if e.Key == keyPrefix+key {
			return e.Value
		}
	}
	return nil
}

// GPT-2's tokenizer has a name, and ToGGUF itself compares what is read back.
func TestToGGUF(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(testkit.Assets(t, "tokenizers"), "rten-reftests", "gpt2-tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := ToGGUF(fstest.MapFS{"tokenizer.json": {Data: b}}, 50260, []int32{50256})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"model": "gpt2", "pre": "gpt-2", "eos_token_id": uint32(50256), "add_bos_token": false} {
		if got := entry(list, key); got != want {
			t.Errorf("%s is %v, expected %v", key, got, want)
		}
	}
	pieces, types := entry(list, "tokens").([]string), entry(list, "token_type").([]int32)
	if len(pieces) != 50260 || pieces[50259] != "[PAD50259]" || types[50259] != typeUnused || types[50256] != typeControl {
		t.Errorf("%d pieces, the last %q of type %d", len(pieces), pieces[len(pieces)-1], types[len(types)-1])
	}
	if _, err := ToGGUF(fstest.MapFS{"tokenizer.json": {Data: b}}, 50000, nil); err == nil || !strings.Contains(err.Error(), "vocabulary of 50000") {
		t.Errorf("more pieces than the model has: %v", err)
	}
}

// pieceOfBytes are the tokens of single bytes.
func pieceOfBytes(vocab map[string]int) {
	for b := range 256 {
		vocab[fmt.Sprintf("<0x%02X>", b)] = len(vocab)
	}
}

// Merges of a tokenizer that falls back to bytes become scores.
func TestToGGUFWithScores(t *testing.T) {
	vocab := map[string]int{"<unk>": 0, "<s>": 1, "</s>": 2}
	pieceOfBytes(vocab)
	for _, p := range []string{"▁", "a", "b", "e", "h", "t", "▁a", "th", "the", "▁the"} {
		vocab[p] = len(vocab)
	}
	file := func(pre any) fstest.MapFS {
		b, err := json.Marshal(map[string]any{
			"added_tokens":  []any{map[string]any{"id": 0, "content": "<unk>", "special": true}, map[string]any{"id": 1, "content": "<s>", "special": true}, map[string]any{"id": 2, "content": "</s>", "special": true}},
			"pre_tokenizer": pre,
			"normalizer":    map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "Prepend", "prepend": "▁"}, map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"}}},
			"decoder": map[string]any{"type": "Sequence", "decoders": []any{map[string]any{"type": "Replace", "pattern": map[string]any{"String": "▁"}, "content": " "}, map[string]any{"type": "ByteFallback"},
				map[string]any{"type": "Fuse"}, map[string]any{"type": "Strip", "content": " ", "start": 1, "stop": 0}}},
			"model": map[string]any{"type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>", "vocab": vocab, "merges": []string{"▁ a", "t h", "th e", "▁ the"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return fstest.MapFS{"tokenizer.json": {Data: b}, "tokenizer_config.json": {Data: []byte(`{"bos_token":"<s>","eos_token":"</s>"}`)}}
	}
	list, err := ToGGUF(file(nil), len(vocab), []int32{2})
	if err != nil {
		t.Fatal(err)
	}
	scores, types := entry(list, "scores").([]float32), entry(list, "token_type").([]int32)
	if entry(list, "model") != "llama" || scores[vocab["▁a"]] != 0 || scores[vocab["▁the"]] != -3 || types[3] != typeByte || types[0] != typeUnknown || entry(list, "add_space_prefix") != true {
		t.Errorf("scores %v and %v, types %v and %v", scores[vocab["▁a"]], scores[vocab["▁the"]], types[3], types[0])
	}
	// Words that are cut otherwise than SentencePiece does have no form.
	if _, err := ToGGUF(file(map[string]any{"type": "Digits", "individual_digits": true}), len(vocab), nil); err != nil && !strings.Contains(err.Error(), "instead of") {
		t.Errorf("got %v", err)
	}
}

// Tokenizers of other kinds are refused by name.
func TestToGGUFRefuses(t *testing.T) {
	for json, want := range map[string]string{
		`{"model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}}`:                                         "WordLevel",
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"FixedLength","length":3}}`: "none of the ways",
		`{`: "tokenizer.json",
	} {
		if _, err := ToGGUF(fstest.MapFS{"tokenizer.json": {Data: []byte(json)}}, 10, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected %q", json, err, want)
		}
	}
	if _, err := ToGGUF(fstest.MapFS{}, 10, nil); err == nil {
		t.Error("no error for an empty folder")
	}
}
