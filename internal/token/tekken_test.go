package token

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// tekkenFile has the bytes, three longer pieces of which the last is not used, and so many
// special tokens, which are listed if there is a list.
func tekkenFile(special int, list string) string {
	var vocab []string
	add := func(text string) {
		vocab = append(vocab, fmt.Sprintf(`{"rank":%d,"token_bytes":%q,"token_str":null}`, len(vocab), base64.StdEncoding.EncodeToString([]byte(text))))
	}
	for b := range 256 {
		add(string([]byte{byte(b)}))
	}
	for _, text := range []string{"ab", " ab", "abab"} {
		add(text)
	}
	return fmt.Sprintf(`{"config":{"pattern":" ?\\p{L}+|\\s+|[^\\s\\p{L}]","num_vocab_tokens":259,"default_vocab_size":%d,"default_num_special_tokens":%d,"version":"v3"},"vocab":[%s]%s}`,
		special+258, special, strings.Join(vocab, ","), list)
}

func TestTekken(t *testing.T) {
	tok, err := FromFolder(fstest.MapFS{"tekken.json": {Data: []byte(tekkenFile(30, ""))}, "tokenizer.model": {Data: []byte("not this one")}})
	if err != nil {
		t.Fatal(err)
	}
	both := EncodeOptions{AddSpecial: true, ParseSpecial: true}
	if got, want := tok.Encode("abab ab[INST]<SPECIAL_25>", both), []int32{1, 286, 286, 287, 3, 25}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
	if got, want := tok.Encode("[IN", EncodeOptions{}), []int32{30 + '[', 30 + 'I', 30 + 'N'}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
	if got := tok.Decode([]int32{1, 286, 3, 287, 2}, true); got != "ab ab" {
		t.Errorf("decoded %q", got)
	}
	if !slices.Equal(tok.EOS(), []int32{2}) {
		t.Errorf("texts end with %v, expected 2", tok.EOS())
	}
	list := `,"special_tokens":[{"rank":0,"token_str":"<unk>","is_control":true},{"rank":1,"token_str":"<s>","is_control":true},{"rank":2,"token_str":"</s>","is_control":true},{"rank":3,"token_str":"[THINK]","is_control":true}]`
	tok, err = FromFolder(fstest.MapFS{"tekken.json": {Data: []byte(tekkenFile(5, list))}, "tokenizer_config.json": {Data: []byte(`{"add_bos_token":false}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode("[THINK]<SPECIAL_4>ab", both), []int32{3, 4, 261}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

func TestHostileTekken(t *testing.T) {
	whole := tekkenFile(30, "")
	for _, c := range []struct{ old, new, want string }{
		{`"pattern":" ?`, `"pattern":"(a)\\1`, "unsupported escape"},
		{`"pattern"`, `"cut"`, "config.pattern"},
		{`"default_vocab_size":288`, `"default_vocab_size":300`, "300 tokens"},
		{`"default_vocab_size":288`, `"default_vocab_size":30`, "30 tokens"},
		{`"default_num_special_tokens":30`, `"default_num_special_tokens":-1`, "-1 of them special"},
		{`"default_vocab_size":288,"default_num_special_tokens":30`, `"default_vocab_size":1000258,"default_num_special_tokens":1000000`, "at most 65536"},
		{`{"rank":7,`, `{"rank":8,`, "vocab[7] has the rank 8"},
		{`"token_bytes":"YWI="`, `"token_bytes":""`, "vocab[256]"},
		{`"token_bytes":"YWI="`, `"token_bytes":"!"`, "base64"},
		{`"token_bytes":"YWI="`, `"token_bytes":"PHM+"`, `the text "<s>"`},
		{`"vocab":`, `"special_tokens":[{"rank":30,"token_str":"x"}],"vocab":`, "special_tokens[0] has the rank 30"},
		{`"vocab":`, `"special_tokens":[{"rank":0,"token_str":"x"},{"rank":1,"token_str":"x"}],"vocab":`, `two special tokens are "x"`},
	} {
		text := strings.Replace(whole, c.old, c.new, 1)
		if text == whole {
			t.Fatalf("no %s", c.old)
		}
		if _, err := FromFolder(fstest.MapFS{"tekken.json": {Data: []byte(text)}}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "tekken.json") {
			t.Errorf("%s: error %v, expected one with %q", c.new, err, c.want)
		}
	}
}
