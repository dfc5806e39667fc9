package decode

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/bytelevel"
)

// text decodes pieces, and checks that no part of a character comes out alone.
func text(t *testing.T, s *Stream, pieces []string) string {
	t.Helper()
	var b strings.Builder
	for _, p := range append(pieces, "\x00end") {
		out := ""
		if p == "\x00end" {
			out = s.Flush()
		} else {
			out = s.Push(p)
		}
		if !utf8.ValidString(out) {
			t.Errorf("%q: the part %q is not UTF-8", pieces, out)
		}
		b.WriteString(out)
	}
	return b.String()
}

func TestDecoders(t *testing.T) {
	spm := &Decoder{Rewrites: []Rewrite{Replace("▁", " ")}, Spelling: ByteFallback, Trim: " ", TrimStart: 1}
	bytes := func(s string) []string { // one piece for each byte
		var pieces []string
		for i := range len(s) {
			pieces = append(pieces, string(bytelevel.Rune(s[i])))
		}
		return pieces
	}
	for _, c := range []struct {
		name   string
		d      *Decoder
		pieces []string
		want   string
	}{
		{"bytes", &Decoder{Spelling: ByteLevel}, bytes("aé日😀\n"), "aé日😀\n"},
		{"the beginning of a character", &Decoder{Spelling: ByteLevel}, bytes("a\xf0\x9f\x98b"), "a\uFFFDb"},
		{"two beginnings", &Decoder{Spelling: ByteLevel}, bytes("\xe6\x97\xf0\x9f"), "\uFFFD\uFFFD"},
		{"bytes of no character", &Decoder{Spelling: ByteLevel}, bytes("\xff\x80a\xc0\xaf"), "\uFFFD\uFFFDa\uFFFD\uFFFD"},
		{"surrogate", &Decoder{Spelling: ByteLevel}, bytes("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD"},
		{"added token in bytes", &Decoder{Spelling: ByteLevel}, []string{"Ġa", "<｜end｜>", "Ġ"}, " a<｜end｜> "},
		{"fallback", spm, []string{"▁a", "<0xC3>", "<0xA9>", "▁b", "<0x0A>"}, "aé b\n"},
		{"fallback, each byte", spm, []string{"a", "<0xF0>", "<0x9F>", "b"}, "a\uFFFD\uFFFDb"},
		{"no fallback", spm, []string{"<0xZZ>", "<0x0A"}, "<0xZZ><0x0A"},
		{"only the first blank", spm, []string{"▁▁a", "▁b"}, " a b"},
		{"unknown", &Decoder{Unknown: "<unk>", Surface: " ⁇ ", Trim: " ", TrimStart: 9}, []string{"<unk>", "a", "<unk>"}, " ⁇ a ⁇ "},
		{"metaspace", &Decoder{Rewrites: []Rewrite{Metaspace("▁", true)}}, []string{"▁a▁", "▁b"}, "a b"},
		{"metaspace, kept", &Decoder{Rewrites: []Rewrite{Metaspace("▁", false)}}, []string{"▁a", "▁b"}, " a b"},
		{"wordpiece", &Decoder{Rewrites: []Rewrite{WordPiece("##"), Cleanup}}, []string{"##it", "'", "s", "un", "##do", "!", "n't"}, "##it ' s undo!n't"},
		{"spaced", &Decoder{Rewrites: []Rewrite{Spaced}}, []string{"a", "b"}, "a b"},
		{"suffix", &Decoder{Suffix: "</w>"}, []string{"ab</w>", "c", "d</w>"}, "ab cd"},
		{"suffix in parts", &Decoder{Suffix: "</w>"}, []string{"ab<", "/w", ">c</w>", "<", "/"}, "ab c </"},
		{"trim the end", &Decoder{Trim: "x", TrimStart: 1, TrimEnd: 2}, []string{"xx", "axx", "bx", "xx"}, "xaxxbx"},
		{"strip pieces", &Decoder{Rewrites: []Rewrite{Strip("x", 1, 1)}}, []string{"xxa", "x", "bx"}, "xab"},
		{"dedupe", &Decoder{Dedupe: true, Rewrites: []Rewrite{Replace("<pad>", ""), Replace("|", " ")}}, []string{"h", "h", "<pad>", "h", "|", "|", "i"}, "hh i"},
		{"nothing", spm, nil, ""},
	} {
		if got := text(t, NewStream(c.d, false), c.pieces); got != c.want {
			t.Errorf("%s: %q gives %q, expected %q", c.name, c.pieces, got, c.want)
		}
	}
	if got := text(t, NewStream(spm, true), []string{"▁a", "▁b"}); got != " a b" {
		t.Errorf("a text that goes on: %q", got)
	}
}

// A character comes out with its last byte, not later.
func TestPromptness(t *testing.T) {
	s := NewStream(&Decoder{Spelling: ByteLevel}, false)
	for _, step := range []struct{ bytes, want string }{{"a\xe6", "a"}, {"\x97", ""}, {"\xa5b", "日b"}, {"\xf0\x9f", ""}, {"c", "\uFFFDc"}} {
		if got := s.Push(bytelevel.Encode(step.bytes)); got != step.want {
			t.Errorf("%q gives %q, expected %q", step.bytes, got, step.want)
		}
	}
}

// However bytes are cut into pieces, the text is the same.
func FuzzStream(f *testing.F) {
	f.Add("a日😀\xff\xe6\x97b", uint64(5))
	f.Fuzz(func(t *testing.T, in string, cuts uint64) {
		whole := text(t, NewStream(&Decoder{Spelling: ByteLevel}, false), []string{bytelevel.Encode(in)})
		if utf8.ValidString(in) && whole != in {
			t.Errorf("%q comes back as %q", in, whole)
		}
		var pieces []string
		at := 0
		for i := range len(in) {
			if cuts>>(i%64)&1 != 0 {
				pieces = append(pieces, bytelevel.Encode(in[at:i]))
				at = i
			}
		}
		if got := text(t, NewStream(&Decoder{Spelling: ByteLevel}, false), append(pieces, bytelevel.Encode(in[at:]))); got != whole {
			t.Errorf("%q cut into %q gives %q, expected %q", in, pieces, got, whole)
		}
	})
}
