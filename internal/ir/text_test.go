package ir

import (
	"strings"
	"testing"
)

const sample = `graph "main" {
  input %x float32[n,3]
  const %w float32[3,2] = 1 2.5 3 4 5 -6
  %y float32[n,2] = MatMul(%x, %w)
  const %k int64[1] = 2
  %"odd name", _ = TopK(%y, %k) {axis = -1, largest = 1}
  %z = com.microsoft::Gelu(%y, _) {alpha = 1.0, kinds = ["a", "b"], scales = [0.5, 2.0], sizes = [1, 2], value = <int64[2] = 1 2>}
  %i = If(%z) {then_branch = graph "then" {
      %t = Neg(%y)
      output "out" %t
    }}
  output %y
  output "last" %i
}
`

func TestTextFormRoundTrips(t *testing.T) {
	g, err := Parse(sample, 17)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.String(); got != sample {
		t.Errorf("got\n%s\nwant\n%s", got, sample)
	}
	if err := g.Verify(); err != nil {
		t.Error(err)
	}
}

func TestParseErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"graph \"g\" {\n  %y = Neg(%x)\n}", "line 2: %x is not defined"},
		{"graph \"g\" {\n  input %x float32[\n", "line 3: "},
		{"graph \"g\" {\n  input %x float33[1]\n}", `line 2: expected an element type, found "float33"`},
		{"graph \"g\" {\n  const %c float32[n] = 1\n}", "needs a fixed shape"},
		{"graph \"g\" {", "not closed"},
	} {
		_, err := Parse(c.text, 17)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Count(text, "graph") > 20 {
			return
		}
		g, err := Parse(text, 17)
		if err == nil {
			_ = g.String()
		}
	})
}
