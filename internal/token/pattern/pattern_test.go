package pattern

import (
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func mustCompile(t testing.TB, expr string, f Flavor) *Pattern {
	t.Helper()
	p, err := Compile(expr, f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// cut gives the matches of p in text, joined by |.
func cut(p *Pattern, text string) string {
	var parts []string
	var m Matcher
	for m.Reset(p, text); m.Next(); {
		parts = append(parts, text[m.Start:m.End])
	}
	return strings.Join(parts, "|")
}

func TestMatches(t *testing.T) {
	const (
		gpt2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
		gpt4 = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`
		o200 = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
			`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
		digits = `\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))`
	)
	for _, c := range []struct {
		expr   string
		flavor Flavor
		text   string
		want   string
	}{
		{gpt2, Perl, "I'll say  hello   \n", "I|'ll| say| | hello|   \n"},
		{gpt2, Perl, "a   b1é2", "a|  | b|1|é|2"},
		{gpt4, Perl, "It'S 12345!!\n\n  x  ", "It|'S| |123|45|!!\n\n| | x|  "},
		{gpt4, Perl, "ſ'ſ", "ſ|'ſ"},
		{o200, Perl, "HTTPServer isn'T Ünïcode", "HTTPServer| isn'T| Ünïcode"},
		{digits, Perl, "1234567 12", "1|234|567|12"},
		{`(?<=\d)(?=(\d{3})+(?!\d))|x`, Perl, "1234x", "x"},
		{`(?<!a)b`, Perl, "abbcb", "b|b"},
		{`\ba|a\B`, Perl, "ba ab aa", "a|a"},
		{`^a|b$`, Perl, "a\na b\nb", "a|b"},
		{`^a|b$`, Oniguruma, "a\na b\nb", "a|a|b|b"},
		{`\w+`, Perl, "a\u200db² ३", "a\u200db|३"}, // as the tokenizers library and tiktoken have it
		{`\w+|\W`, Oniguruma, "a\u200db²৴", "a|\u200d|b²|৴"},
		{`[\w]+|[^\w]`, Oniguruma, "a²b", "a|²|b"},
		{`[[:punct:]]|\p{Punct}`, Oniguruma, "a¢.", "¢|."},
		{`\p{Punct}`, Oniguruma, "¢.", "."},
		{`(?i:\p{Lu})|(?i:[\p{Lu}]\h)`, Oniguruma, "AbCde", "A|bC|de"},
		{`(?i:\p{Lu})`, Perl, "aB", "a|B"},
		{`[[:graph:]]+|[^[:print:]]`, Oniguruma, "a\u00a0\x00\ue000\u200b", "a|\x00|\ue000\u200b"},
		{`\Aa|b\z|c\Z`, Oniguruma, "a\na b c\n", "a|c"},
		{`a{1,2}+`, Oniguruma, "aaaaa", "aaaaa"},
		{`a{1,2}+`, Perl, "aaaaa", "aa|aa|a"},
		{`a{,2}b`, Perl, "aaab", "aab"},
		{`a{x}`, Perl, "a{x}", "a{x}"},
		{`(?>a+)ab|a`, Perl, "aab", "a|a"},
		{`a+?b|a`, Perl, "aaab a", "aaab|a"},
		{`(?:ab?)*?c`, Perl, "abaac", "abaac"},
		{`(?:ba*)*a`, Perl, "babaa", "babaa"},
		{`a*(?:b|c)?a`, Perl, "aaa", "aaa"},
		{`[a-c]*(?:b|c)?d|c`, Perl, "abcbdc", "abcbd|c"},
		{`(a|ab)(c|bcd)(d*)`, Perl, "abcd", "abcd"},
		{`[[:alpha:]&&[^aeiou]]+`, Oniguruma, "hello", "h|ll"},
		{`[\p{Han}&&[^一]]+`, Perl, "一二三a", "二三"},
		{`[]a]+`, Perl, "a]b", "a]"},
		{`[^]a]`, Perl, "a]b", "b"},
		{`[a\-c-]+`, Perl, "a-c b", "a-c"},
		{`[\d-x]+`, Perl, "1-x2", "1-x2"},
		{`\p{^L}+|\PL`, Perl, "a12b", "12"},
		{`\x41\x{1F600}\u00e9`, Perl, "A😀é", "A😀é"},
		{`(?i)straße|É`, Perl, "STRASSE STRAßE é", "STRAßE|é"},
		{`(?s).+`, Perl, "a\nb", "a\nb"},
		{`.+`, Perl, "a\nb", "a|b"},
		{`(?m).+`, Oniguruma, "a\nb", "a\nb"},
		{`(?-i:a)(?i)b`, Perl, "aB AB", "aB"},
		{`[^a]`, Perl, "a\xff\xe2\x82b", "\xff|\xe2|\x82|b"},
		{`é?`, Perl, "éxé", "é|é"},
		{`(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+`, Perl, "a b  cd", "a b|cd"},
		{`\p{Script_Extensions}|a`, Perl, "", "error"},
		{`(?P<n>a)b`, Perl, "ab", "ab"},
		{``, Perl, "ab", ""},
	} {
		p, err := Compile(c.expr, c.flavor)
		if c.want == "error" {
			if err == nil {
				t.Errorf("%s: expected an error", c.expr)
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if got := cut(p, c.text); got != c.want {
			t.Errorf("%s on %q: found %q, expected %q", c.expr, c.text, got, c.want)
		}
	}
}

func TestRefused(t *testing.T) {
	for expr, want := range map[string]string{
		`(a`:                       "missing )",
		`a)`:                       "unexpected )",
		`[a`:                       "missing ]",
		`[b-a]`:                    "empty",
		`*a`:                       "nothing to repeat",
		`(a)\1`:                    `unsupported escape \1`,
		`\K`:                       `unsupported escape \K`,
		`(?#x)`:                    "unsupported group (?#",
		`(?<n`:                     "has no end",
		`(?:a*)*`:                  "can be empty",
		`(?<=a+)b`:                 "lookbehind of variable length",
		`a{2,1}`:                   "in order",
		`a{1001}`:                  "at most 1000",
		`(?:(?:ab){1000}){1000}`:   "instructions",
		`\p{Klingon}`:              "unknown property",
		`[[:nope:]]`:               "unknown class",
		`\`:                        "backslash",
		"\xff":                     "not UTF-8",
		strings.Repeat("(", 1000):  "nested",
		strings.Repeat("[", 1000):  "nested",
		strings.Repeat("a", 65537): "bytes",
	} {
		if _, err := Compile(expr, Perl); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: error %v, expected one with %q", expr, err, want)
		}
	}
}

// Texts on which backtracking without memory takes quadratic time or worse.
func TestLongRuns(t *testing.T) {
	const n = 300_000
	for _, c := range []struct{ expr, text string }{
		{`\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))`, strings.Repeat("7", n)},
		{`\p{N}{1,3}(?=(?:\p{N}{3})*x)|\p{N}`, strings.Repeat("7", n)},
		{`\s+$`, strings.Repeat(" ", n) + "x"},
		{`\s++$`, strings.Repeat(" ", n) + "x"},
		{`a*b|a`, strings.Repeat("a", n)},
		{`(?:a|a)*b|a`, strings.Repeat("a", n)},
		{`(?:a|a){30}b|a`, strings.Repeat("a", 300)},
		{`(?:a+)+b|a`, strings.Repeat("a", 300)},
		{`\p{Lu}*\p{Ll}+|\p{Lu}+`, strings.Repeat("A", n)},
		{`\s*[\r\n]+|\s+(?!\S)|\s+`, strings.Repeat("　", n) + "x"},
	} {
		p := mustCompile(t, c.expr, Perl)
		done := make(chan string)
		go func() { done <- cut(p, c.text) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s on %d bytes: no end after 20 s", c.expr, len(c.text))
		}
	}
}

// Against the standard library, on what both can express.
func FuzzAgainstRegexp(f *testing.F) {
	for _, expr := range []string{`a|ab|b*`, `[a-c]+?b|(?:ab)*c`, `(?i)k[^b]`, `(a+|b)+c|a`, `\x{e9}|.`, `^a|b$|\bc`, `a{2,3}b{0,2}`, `(?:a|b(?:c|d){2}){1,2}`} {
		f.Add(expr, "abcabdé aabbcc\nKk")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 50 || len(text) > 200 || !utf8.ValidString(text) || strings.ContainsAny(expr, `\[`) {
			return // escapes and classes have other extents there
		}
		std, err := regexp.Compile(expr)
		if err != nil {
			Compile(expr, Oniguruma)
			return
		}
		p, err := Compile(expr, Perl)
		if err != nil {
			return
		}
		if strings.Contains(expr, "{,") {
			return // a literal there
		}
		var want []string
		for _, m := range std.FindAllString(text, -1) {
			if m != "" {
				want = append(want, m)
			}
		}
		if got := cut(p, text); got != strings.Join(want, "|") {
			t.Errorf("%q on %q: found %q, expected %q", expr, text, got, strings.Join(want, "|"))
		}
	})
}

// Characters of Unicode 15.1 and 16 are what they are in the libraries of tokenizers.
func TestUnicode16(t *testing.T) {
	for expr, text := range map[string]string{
		`\p{L}+`: "a\U0002ebf0\U00013460\u1c89", `\p{Lu}`: "\u1c89", `\p{Lo}`: "\U0002ebf0", `\p{M}`: "\u0897", `\p{N}`: "\U0001ccf0", `\d`: "\U0001ccf0",
		`\p{P}`: "\u1b4e", `[\p{S}]`: "\U0001fae9", `\p{Han}`: "\U0002ebf0", `\w+`: "\U00010d4a\u0897", `[^\P{L}]`: "\U00013460",
	} {
		for _, f := range []Flavor{Perl, Oniguruma} {
			if got := cut(mustCompile(t, expr, f), text); got != text {
				t.Errorf("%q on %q: found %q", expr, text, got)
			}
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	text := strings.Repeat("It was the best of times, it was the worst of times; in 1859 they'd said: «Größe» 12345!\n\tif (x == 0) {\n", 1000)
	for name, expr := range map[string]string{
		"gpt2":  `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
		"llama": `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
		"o200k": `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
			`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
	} {
		b.Run(name, func(b *testing.B) {
			p := mustCompile(b, expr, Perl)
			var m Matcher
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				for m.Reset(p, text); m.Next(); {
				}
			}
		})
	}
}
