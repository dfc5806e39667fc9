package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func mustVocab(t testing.TB, pieces ...string) *Vocab {
	t.Helper()
	v, err := NewVocab(pieces, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVocab(t *testing.T) {
	v, err := NewVocab([]string{"a", "", "b", "a", "secret"}, func(id int32) bool { return id == 4 })
	if err != nil {
		t.Fatal(err)
	}
	for piece, want := range map[string]int32{"a": 0, "b": 2, "": None, "secret": None, "c": None, "very much longer": None} {
		if got := v.ID(piece); got != want {
			t.Errorf("%q is %d, expected %d", piece, got, want)
		}
	}
	if v.Size() != 5 {
		t.Errorf("size %d", v.Size())
	}
}

func list(pairs [][2]string) func(int) (string, string) {
	return func(i int) (a, b string) { return pairs[i][0], pairs[i][1] }
}

// slowBPE merges as the definition says: again and again, the first of the pairs
// with the lowest rank.
func slowBPE(word string, rank func(a, b string) int) []string {
	symbols := strings.Split(word, "")
	for {
		best, at := -1, 0
		for i := range len(symbols) - 1 {
			if r := rank(symbols[i], symbols[i+1]); r >= 0 && (best < 0 || r < best) {
				best, at = r, i
			}
		}
		if best < 0 {
			return symbols
		}
		symbols = slices.Replace(symbols, at, at+2, symbols[at]+symbols[at+1])
	}
}

func names(v *Vocab, ids []int32) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = v.Piece(id)
	}
	return out
}

// randomWord is longer than what short merges take, at times.
func randomWord(r *rand.Rand) string {
	n := 1 + r.IntN(12)
	if r.IntN(3) == 0 {
		n = short - 2 + r.IntN(200)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcd"[r.IntN(2+r.IntN(3))]
	}
	return string(b)
}

func TestMergesAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		pieces := strings.Split("abcd", "")
		var merges [][2]string
		for range r.IntN(40) {
			a, b := pieces[r.IntN(len(pieces))], pieces[r.IntN(len(pieces))]
			if !slices.Contains(pieces, a+b) {
				pieces = append(pieces, a+b)
			}
			if !slices.Contains(merges, [2]string{a, b}) {
				merges = append(merges, [2]string{a, b})
			}
		}
		r.Shuffle(len(merges), func(i, j int) { merges[i], merges[j] = merges[j], merges[i] })
		v := mustVocab(t, pieces...)
		b := NewBPE(v, BPEOptions{Unknown: None})
		if err := b.AddMerges(len(merges), list(merges)); err != nil {
			t.Fatal(err)
		}
		word := randomWord(r)
		want := slowBPE(word, func(x, y string) int { return slices.Index(merges, [2]string{x, y}) })
		if got := names(v, b.Append(nil, word, &Scratch{})); !slices.Equal(got, want) {
			t.Fatalf("round %d: %q with merges %q: %q, expected %q", round, word, merges, got, want)
		}
	}
}

func TestUnionsAgainstDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 200 {
		pieces := []string{"a", "b"} // c and d are no pieces
		var scores []float32
		for range r.IntN(40) {
			n := 2 + r.IntN(4)
			b := make([]byte, n)
			for i := range b {
				b[i] = "abcd"[r.IntN(4)]
			}
			if !slices.Contains(pieces, string(b)) {
				pieces = append(pieces, string(b))
			}
		}
		for range pieces {
			scores = append(scores, float32(r.IntN(10)))
		}
		v := mustVocab(t, pieces...)
		b := NewBPE(v, BPEOptions{Unknown: None, Late: true})
		if err := b.AddUnions(ByScore(scores), nil, pieces); err != nil {
			t.Fatal(err)
		}
		word := randomWord(r)
		symbols := slowBPE(word, func(x, y string) int {
			if id := v.ID(x + y); id != None {
				return 100 - int(scores[id])
			}
			return -1
		})
		want := slices.DeleteFunc(symbols, func(s string) bool { return v.ID(s) == None })
		if got := names(v, b.Append(nil, word, &Scratch{})); !slices.Equal(got, want) {
			t.Fatalf("round %d: %q with pieces %q %v: %q, expected %q", round, word, pieces, scores, got, want)
		}
	}
}

func TestUnknownCharacters(t *testing.T) {
	v := mustVocab(t, "a", "b", "<unk>", "ab", "<0xC3>", "<0xA9>")
	merges := list([][2]string{{"a", "b"}})
	for _, c := range []struct {
		name string
		o    BPEOptions
		word string
		want string
	}{
		{"left out", BPEOptions{Unknown: None}, "axxbxa", "ab a"}, // before merging
		{"each", BPEOptions{Unknown: 2}, "axxb", "a <unk> <unk> b"},
		{"fused", BPEOptions{Unknown: 2, Fuse: true}, "axxb", "a <unk> b"},
		{"bytes", BPEOptions{Unknown: 2, ByteFallback: true}, "aéb", "a <0xC3> <0xA9> b"},
		{"not all bytes", BPEOptions{Unknown: 2, ByteFallback: true}, "aèb", "a <unk> b"},
		{"bytes that are no character", BPEOptions{Unknown: 2, ByteFallback: true}, "a\xc3b", "a <0xC3> b"},
		{"late", BPEOptions{Unknown: 2, Fuse: true, ByteFallback: true, Late: true}, "éxxyab", "<0xC3> <0xA9> <unk> ab"},
	} {
		b := NewBPE(v, c.o)
		if err := b.AddMerges(1, merges); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(names(v, b.Append(nil, c.word, &Scratch{})), " ")
		if got != c.want {
			t.Errorf("%s: %q gives %q, expected %q", c.name, c.word, got, c.want)
		}
	}
}

func TestMergesOfWhatIsNoPiece(t *testing.T) {
	v := mustVocab(t, "a", "b", "c", "abc")
	merges := [][2]string{{"a", "b"}, {"ab", "c"}}
	if err := NewBPE(v, BPEOptions{}).AddMerges(2, list(merges)); err == nil {
		t.Error("expected an error: ab is no piece")
	}
	alphabet := [256]int32{}
	for i := range alphabet {
		alphabet[i] = v.ID(string(rune(i)))
	}
	b := NewBPE(v, BPEOptions{Late: true, Alphabet: &alphabet, Unknown: None})
	if err := b.AddMerges(2, list(merges)); err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]string{"abc": "abc", "abab": "a b a b", "cab": "c a b"} {
		if got := strings.Join(names(v, b.Append(nil, word, &Scratch{})), " "); got != want {
			t.Errorf("%q gives %q, expected %q", word, got, want)
		}
	}
}

func TestLongRunIsNotQuadratic(t *testing.T) {
	pieces := []string{"a"}
	var merges [][2]string
	for n := 1; n < 64; n *= 2 {
		s := strings.Repeat("a", n)
		merges, pieces = append(merges, [2]string{s, s}), append(pieces, s+s)
	}
	v := mustVocab(t, pieces...)
	b := NewBPE(v, BPEOptions{Unknown: None})
	if err := b.AddMerges(len(merges), list(merges)); err != nil {
		t.Fatal(err)
	}
	const n = 1 << 20 // would take hours if every merge looked at all symbols
	if got := len(b.Append(nil, strings.Repeat("a", n), &Scratch{})); got != n/64 {
		t.Errorf("%d pieces, expected %d", got, n/64)
	}
}

// slowUnigram tries every way to cut a word.
func slowUnigram(word string, score map[string]float64, fee float64) float64 {
	if word == "" {
		return 0
	}
	best := slowUnigram(word[1:], score, fee)
	if s, ok := score[word[:1]]; ok {
		best += s
	} else {
		best += fee
	}
	for n := 2; n <= len(word); n++ {
		if s, ok := score[word[:n]]; ok {
			best = max(best, s+slowUnigram(word[n:], score, fee))
		}
	}
	return best
}

func TestUnigramAgainstAllWays(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		pieces, scores, score := []string{"<unk>"}, []float64{0}, map[string]float64{}
		for range 1 + r.IntN(12) {
			p := randomWord(r)
			p = p[:min(len(p), 4)]
			if _, ok := score[p]; ok {
				continue
			}
			score[p] = -float64(r.IntN(1000)) / 64
			pieces, scores = append(pieces, p), append(scores, score[p])
		}
		low := 0.0
		for _, s := range score {
			low = min(low, s)
		}
		v := mustVocab(t, pieces...)
		u, err := NewUnigram(v, UnigramOptions{Scores: scores, Unknown: 0, Hidden: func(id int32) bool { return id == 0 }}, func(id int32) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		word := randomWord(r)
		word = word[:min(len(word), 12)]
		u.search(word, &Scratch{})
		s := &Scratch{}
		u.search(word, s)
		if got, want := s.path[len(word)].score, slowUnigram(word, score, low-unknownPenalty); got != want {
			t.Fatalf("%q with %v: score %v, expected %v", word, score, got, want)
		}
	}
}

func TestUnigram(t *testing.T) {
	v := mustVocab(t, "<unk>", "a", "ab", "b", "<0xC3>", "<0xA9>", "é")
	scores := []float64{0, -1, -1.5, -2, -9, -9, -30}
	one := func(o UnigramOptions, word string) string {
		o.Scores = scores
		u, err := NewUnigram(v, o, func(id int32) bool { return id > 0 })
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(names(v, u.Append(nil, word, &Scratch{})), " ")
	}
	for _, c := range []struct{ name, got, want string }{
		{"best", one(UnigramOptions{Unknown: 0}, "abab"), "ab ab"},
		{"unknown, fused", one(UnigramOptions{Unknown: 0}, "xxaxx"), "<unk> a <unk>"},
		{"no unknown", one(UnigramOptions{Unknown: None}, "xax"), "a"},
		{"bytes", one(UnigramOptions{Unknown: 0, ByteFallback: true, Hidden: func(id int32) bool { return id == 6 }}, "aé"), "a <0xC3> <0xA9>"},
		{"not all bytes", one(UnigramOptions{Unknown: 0, ByteFallback: true}, "aè"), "a <unk>"},
		{"rare", one(UnigramOptions{Unknown: 0, ByteFallback: true, Single: true}, "abé"), "ab é"},
		{"user-defined", one(UnigramOptions{Unknown: 0, UserDefined: func(id int32) bool { return id == 6 }}, "abé"), "ab é"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, expected %q", c.name, c.got, c.want)
		}
	}
	if _, err := NewUnigram(v, UnigramOptions{Scores: scores[1:]}, nil); err == nil {
		t.Error("expected an error: a score is missing")
	}
	nan := slices.Clone(scores)
	nan[2] /= 0 * nan[2]
	if _, err := NewUnigram(v, UnigramOptions{Scores: nan}, func(int32) bool { return true }); err == nil {
		t.Error("expected an error: a score is no number")
	}
}

func TestWordPiece(t *testing.T) {
	heads := mustVocab(t, "[UNK]", "un", "aff", "able", "é", "a")
	tails := mustVocab(t, "", "", "", "able", "é", "", "aff")
	w := NewWordPiece(heads, tails, 0, 12)
	for word, want := range map[string]string{
		"unaffable": "[1 6 3]", "un": "[1]", "unx": "[0]", "éé": "[4 4]", "\xff": "[0]", "a\xff": "[0]", "unaffableaffable": "[0]", "": "[]",
	} {
		if got := fmt.Sprint(w.Append([]int32{}, word, nil)); got != want {
			t.Errorf("%q gives %s, expected %s", word, got, want)
		}
	}
}

func TestCache(t *testing.T) {
	v := mustVocab(t, strings.Split("abcd", "")...)
	b := NewBPE(v, BPEOptions{Unknown: None})
	c, s := &Cache{}, &Scratch{}
	r := rand.New(rand.NewPCG(7, 8))
	for range 20000 {
		word := randomWord(r)
		word = word[:min(len(word), 1+r.IntN(20))]
		if got, want := c.Append(b, nil, word, s), b.Append(nil, word, s); !slices.Equal(got, want) {
			t.Fatalf("%q gives %v, expected %v", word, got, want)
		}
	}
}
