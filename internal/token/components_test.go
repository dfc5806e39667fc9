package token

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/fstest"
)

// component is a small tokenizer, and what Hugging Face's tokenizers make of
// some texts with it. testdata/make_components.py writes them.
type component struct {
	Name       string
	Tokenizer  json.RawMessage
	IDs, Plain [][]int32
	Decoded    []string
}

func components(t testing.TB) (texts []string, cases []component) {
	t.Helper()
	var all struct {
		Texts []string
		Cases []component
	}
	readJSON(t, "testdata/components.json", &all)
	return all.Texts, all.Cases
}

func TestComponents(t *testing.T) {
	texts, cases := components(t)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: c.Tokenizer}})
			if err != nil {
				t.Fatal(err)
			}
			if c.Plain == nil {
				c.Plain = c.IDs
			}
			for i, text := range texts {
				got := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true})
				if !slices.Equal(got, c.IDs[i]) {
					t.Errorf("%q:\n%s, expected\n%s", text, show(tok, got), show(tok, c.IDs[i]))
				}
				if got := tok.Encode(text, EncodeOptions{ParseSpecial: true}); !slices.Equal(got, c.Plain[i]) {
					t.Errorf("%q without special tokens:\n%s, expected\n%s", text, show(tok, got), show(tok, c.Plain[i]))
				}
				if got := tok.Decode(c.IDs[i], true); got != c.Decoded[i] {
					t.Errorf("%q comes back as %q, expected %q", text, got, c.Decoded[i])
				}
			}
		})
	}
}

// Scores are read as the library reads them: where ways to cut a word are equally good,
// the last place of a score decides.
func TestEqualScores(t *testing.T) {
	tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: []byte(
		`{"added_tokens":[],"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["a",-8.574044139449574],["aa",-12.576776339398261]]}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode("aaaaaaaaaaa", EncodeOptions{}), []int32{1, 2, 2, 2, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

// Of a vocabulary without a piece for unknown characters these are left out before merging,
// and their neighbours are merged, as tokenizers does.
func TestNeighboursOfCharactersLeftOut(t *testing.T) {
	tok, err := FromFolder(fstest.MapFS{"tokenizer.json": {Data: []byte(
		`{"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false},"model":{"type":"BPE","vocab":{"x":0,"▁":1,"x▁":2},"merges":[["x","▁"]]}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{"xé ": {2}, "x ": {2}, "é x": {1, 0}, "xéx é ": {0, 2, 1}} {
		if got := tok.Encode(text, EncodeOptions{}); !slices.Equal(got, want) {
			t.Errorf("%q: %v, expected %v", text, got, want)
		}
	}
}
