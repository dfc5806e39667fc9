package normalize

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// What the tokenizers library gives where Go's tables, or x/text, have it otherwise.
func TestAsTheLibrary(t *testing.T) {
	bert := Bert{Clean: true, StripAccents: true, Lowercase: true}.Func()
	acutes := strings.Repeat("\u0301", 100)
	for _, c := range []struct {
		name      string
		f         Func
		text, out string
	}{
		{"no joiner between marks", NFC, "e" + acutes, "é" + acutes[2:]},
		{"a joiner that is there", NFKC, "\u034fe" + acutes, "\u034fé" + acutes[2:]},
		{"marks in order", NFD, strings.Repeat("\u0301\u0323", 40), strings.Repeat("\u0323", 40) + strings.Repeat("\u0301", 40)},
		{"the last class decides", NFC, "a" + strings.Repeat("\u0323", 40) + "\u0301", "ạ" + strings.Repeat("\u0323", 39) + "\u0301"},
		{"Hangul", NFC, "\u1112\u1161\u11ab" + acutes, "한" + acutes},
		{"compatibility", NFKD, "ﬁ" + acutes, "fi" + acutes},
		{"a mark of Unicode 11 stays in its place", NFC, "a\u0301\U0001133b", "á\U0001133b"},
		{"and divides", NFC, "e\U0001133b\u0301", "e\U0001133b\u0301"},
		{"the name of an era, of Unicode 12", NFKC, "㋿", "㋿"},
		{"a mark of Unicode 9", StripAccents, "a\u1dfb\U0001133bb", "a\U0001133bb"},
		{"was a mark", StripAccents, "a\u1cf2b", "ab"},
		{"BERT's marks", bert, "a\u1dfba\u0301\u1734b", "a\u1dfbab"},
		{"BERT's format characters", bert, "a\u0890\u200db", "a\u0890b"},
		{"cases of Unicode 16", Lowercase, "\u1c89\ua7cb\ua7dc\U00010d50Ä", "\u1c8a\u0264\u019b\U00010d70ä"},
	} {
		if got := c.f(c.text); got != c.out {
			t.Errorf("%s: %+q gives %+q, expected %+q", c.name, c.text, got, c.out)
		}
	}
}

// The way for many marks, and that for texts that are mostly plain, give what x/text gives.
func TestFormsByHand(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	alphabet := []rune("aeoUI  .AА한가가日ナはがé\u00a0\xff\u1112\u1161\u11abが\u3099\u09c7\u09be\u0301\u0323\u0308\u0327\u0345\u0334ﬁ½Åﬅ\u0e33\u0f71\u0f72\u1e9b")
	for range 3000 {
		var b strings.Builder
		for range 1 + r.IntN(20) {
			b.WriteRune(alphabet[r.IntN(len(alphabet))])
		}
		for _, f := range []form{nfc, nfd, nfkc, nfkd} {
			if got, want := f.byHand(b.String()), f.norm.String(b.String()); got != want {
				t.Fatalf("%+q gives %+q, expected %+q", b.String(), got, want)
			} else if got := f.text(b.String()); got != want {
				t.Fatalf("%+q gives %+q by parts, expected %+q", b.String(), got, want)
			}
		}
	}
}

func TestManyMarks(t *testing.T) {
	start := time.Now()
	NFC(strings.Repeat("\u0301\u0323", 1<<18))
	NFKC("e" + strings.Repeat("\u1dfe\U0001133b", 1<<17))
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("a megabyte of marks took %v", d)
	}
}
