package normalize

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/token/pattern"
)

func TestFunctions(t *testing.T) {
	spaces, err := pattern.Compile(" {2,}", pattern.Oniguruma)
	if err != nil {
		t.Fatal(err)
	}
	bert := Bert{Clean: true, Chinese: true, StripAccents: true, Lowercase: true}.Func()
	for _, c := range []struct {
		name       string
		f          Func
		text, want string
	}{
		{"NFC", NFC, "e\u0301", "é"},
		{"NFD", NFD, "é한", "e\u0301\u1112\u1161\u11ab"},
		{"NFKC", NFKC, "ﬁ½", "fi1⁄2"},
		{"lower", Lowercase, "İΣaẞ", "i̇σaß"},
		{"lower already", Lowercase, "abc", "abc"},
		{"accents", Sequence([]Func{NFD, StripAccents}), "éñ", "en"},
		{"replace", Replace(spaces, "$0"), "a  b   c d", "a$0b$0c d"},
		{"replace nothing", Replace(spaces, "$0"), "ab", "ab"},
		{"replace string", ReplaceString("ab", "x"), "aababb", "axxb"},
		{"replace the empty string", ReplaceString("", "x"), "a", "a"},
		{"prepend", Prepend("▁"), "a", "▁a"},
		{"prepend to nothing", Prepend("▁"), "", ""},
		{"strip", Strip(true, true), " \u00a0a \u3000", "a"},
		{"strip left", Strip(true, false), " a ", "a "},
		{"bytes", ByteLevel, "é\xff", "Ã©ÿ"},
		{"nmt", Nmt, "a\x01b\u200bc\u2581\t", "ab c  "},
		{"bert", bert, "\tÉa\x0b\u200d日本x\ufffd", " ea 日  本 x"},
		{"bert, cased", Bert{}.Func(), "Éa日", "Éa日"},
		{"sentencepiece", SentencePiece{Prefix: true}.Func(), "a  b", "▁a▁▁b"},
		{"sentencepiece, nothing", SentencePiece{Prefix: true}.Func(), "", ""},
		{"sentencepiece, squeezed", SentencePiece{Prefix: true, Squeeze: true}.Func(), "  a   b ", "▁a▁b"},
		{"sentencepiece, blanks", SentencePiece{Prefix: true, Squeeze: true}.Func(), "   ", ""},
		{"sentencepiece, suffix", SentencePiece{Prefix: true, AsSuffix: true}.Func(), "a b", "a▁b▁"},
		{"sentencepiece, broken", SentencePiece{}.Func(), "a\xff", "a\uFFFD"},
	} {
		if got := c.f(c.text); got != c.want {
			t.Errorf("%s: %q becomes %q, expected %q", c.name, c.text, got, c.want)
		}
	}
}

// charsmap builds a table by hand: a becomes b, ab becomes the empty text.
func charsmap() []byte {
	const leaf = 1 << 8
	node := func(label byte, hasLeaf bool, offset uint32) uint32 {
		u := uint32(label) | offset<<10
		if hasLeaf {
			u |= leaf
		}
		return u
	}
	units := make([]uint32, 256)
	units[0] = node(0, false, 4)              // the root: children at 4 ^ label
	units[4^'a'] = node('a', true, 4^'a'^8)   // its value at 8, its children at 8 ^ label
	units[8] = 1<<31 | 0                      // replacement 0
	units[8^'b'] = node('b', true, 8^'b'^200) // its value at 200
	units[200] = 1<<31 | 2                    // replacement 2
	out := binary.LittleEndian.AppendUint32(nil, uint32(4*len(units)))
	for _, u := range units {
		out = binary.LittleEndian.AppendUint32(out, u)
	}
	return append(out, "b\x00\x00"...)
}

func TestCharsmap(t *testing.T) {
	c, err := ParseCharsmap(charsmap())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"a": "b", "abab": "", "xaab": "xb", "a\u0301": "b\u0301", "\xff": "\uFFFD", "": ""} {
		if got := c.Longest(nil)(text); got != want {
			t.Errorf("longest: %q becomes %q, expected %q", text, got, want)
		}
	}
	keep := func(text string) int { return len("ab") * strings.Count(text[:min(2, len(text))], "ab") }
	if got := c.Longest(keep)("aab"); got != "bab" {
		t.Errorf("kept: %q", got)
	}
	for text, want := range map[string]string{"ab": "bb", "a\u0301x": "bx", "xa": "xb"} {
		if got := c.Graphemes(text); got != want {
			t.Errorf("graphemes: %q becomes %q, expected %q", text, got, want)
		}
	}
}

func TestGraphemes(t *testing.T) {
	for text, want := range map[string]string{
		"e\u0301x": "e\u0301|x", "\r\n\r": "\r\n|\r", "\n\u0301": "\n|\u0301", "a\u200db": "a\u200d|b", "\u0600a\u0301b": "\u0600a\u0301|b",
		"\u0600\n": "\u0600|\n", "👍🏽a": "👍🏽|a",
	} {
		var parts []string
		for at := 0; at < len(text); {
			n := grapheme(text[at:])
			parts = append(parts, text[at:at+n])
			at += n
		}
		if got := strings.Join(parts, "|"); got != want {
			t.Errorf("%q: %q, expected %q", text, got, want)
		}
	}
}

func TestCharsmapRefused(t *testing.T) {
	for _, data := range []string{"", "\x01", "\xff\xff\xff\xff", "\x03\x00\x00\x00abc", "\x00\x00\x00\x00ab"} {
		if _, err := ParseCharsmap([]byte(data)); err == nil {
			t.Errorf("%q: expected an error", data)
		}
	}
}

func FuzzCharsmap(f *testing.F) {
	f.Add(charsmap(), "abab")
	f.Add([]byte{0, 0, 0, 0}, "a")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		if c, err := ParseCharsmap(data); err == nil {
			c.Longest(nil)(text)
			c.Graphemes(text)
		}
	})
}
