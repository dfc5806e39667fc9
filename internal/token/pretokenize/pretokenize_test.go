package pretokenize

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/token/pattern"
)

func cutUp(steps []Step, text string, start bool) string {
	var words []string
	var s Scratch
	Each(steps, text, start, &s, func(w string) { words = append(words, w) })
	return strings.Join(words, "|")
}

func TestSteps(t *testing.T) {
	compile := func(expr string) *pattern.Pattern {
		p, err := pattern.Compile(expr, pattern.Oniguruma)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	dash := compile("-")
	for _, c := range []struct {
		name  string
		steps []Step
		text  string
		want  string
	}{
		{"none", nil, "a b", "a b"},
		{"empty", nil, "", ""},
		{"isolated", []Step{Regexp{Pattern: dash}}, "-a--b", "-|a|-|-|b"},
		{"removed", []Step{Regexp{Pattern: dash, Behavior: Removed}}, "-a--b", "a|b"},
		{"previous", []Step{Regexp{Pattern: dash, Behavior: MergedWithPrevious}}, "-a--b", "-|a-|-|b"},
		{"next", []Step{Regexp{Pattern: dash, Behavior: MergedWithNext}}, "-a--b-", "-a|-|-b|-"},
		{"contiguous", []Step{Regexp{Pattern: dash, Behavior: Contiguous}}, "-a--b", "-|a|--|b"},
		{"inverted", []Step{Regexp{Pattern: compile("[a-z]+"), Behavior: Removed, Invert: true}}, "-a--bc", "a|bc"},
		{"zero width", []Step{Regexp{Pattern: compile(`(?=(\d{3})+(?!\d))`)}}, "1234567", "1|234|567"},
		{"runes", []Step{Runes{Is: IsPunctuation}}, "a,b;;c", "a|,|b|;|;|c"},
		{"digits", []Step{Runes{Is: IsNumber, Behavior: Contiguous}}, "a12b½", "a|12|b|½"},
		{"prefix", []Step{PrefixSpace{}}, "a", " a"},
		{"prefix that is there", []Step{PrefixSpace{}}, " a", " a"},
		{"bytes", []Step{ByteLevel{}}, "é \n", "Ã©ĠĊ"},
		{"metaspace", []Step{Metaspace{Mark: "▁"}}, "a  b", "▁a|▁|▁b"},
		{"metaspace, marked", []Step{Metaspace{Mark: "▁"}}, " a", "▁a"},
		{"metaspace whole", []Step{Metaspace{Mark: "▁", Whole: true}}, "a b", "▁a▁b"},
		{"metaspace never", []Step{Metaspace{Mark: "▁", Scheme: Never}}, "a b", "a|▁b"},
		{"marks", []Step{Marks{Mark: "▁", Glued: map[rune]bool{'>': true}}}, "▁▁a▁b▁▁c>▁d", "▁▁a|▁b|▁▁c>▁d"},
		{"fixed", []Step{FixedLength(2)}, "aébcd", "aé|bc|d"},
		{"sequence", []Step{Runes{Is: IsSpace, Behavior: Removed}, Regexp{Pattern: dash}, Runes{Is: IsNumber}}, " a-1 b2c-", "a|-|1|b|2|c|-"},
		{"sequence that ends in a pattern", []Step{Runes{Is: IsSpace, Behavior: Removed}, Regexp{Pattern: dash}}, " a-1 b", "a|-|1|b"},
	} {
		if got := cutUp(c.steps, c.text, true); got != c.want {
			t.Errorf("%s: %q is cut into %q, expected %q", c.name, c.text, got, c.want)
		}
	}
}

// Only the very beginning gets a mark, if the scheme is First.
func TestFirst(t *testing.T) {
	first := Metaspace{Mark: "▁", Scheme: First}
	space := Runes{Is: IsSpace, Behavior: Removed}
	for _, c := range []struct {
		steps []Step
		text  string
		start bool
		want  string
	}{
		{[]Step{first}, "a b", true, "▁a|▁b"},
		{[]Step{first}, "a b", false, "a|▁b"},
		{[]Step{space, first}, "a b", true, "▁a|b"},
		{[]Step{space, first}, " a b", true, "a|b"},
	} {
		if got := cutUp(c.steps, c.text, c.start); got != c.want {
			t.Errorf("%q, start %v, is cut into %q, expected %q", c.text, c.start, got, c.want)
		}
	}
}
