package contrib

import (
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Tokenizer stands in front of TfIdfVectorizer in the text pipelines that
// skl2onnx writes. Expressions are RE2's, as Go's are.
func init() {
	op.Register(&op.Op{
		Domain: op.Microsoft, Name: "Tokenizer", Versions: []int{1}, Doc: "cuts strings into tokens, by an expression that they match or by separators; rows are padded to the longest",
		In: op.Ports("X:string"), Out: op.Ports("Y:string"),
		Attrs: op.Attrs{
			"mark": op.Required(ir.KindInt), "mincharnum": op.Required(ir.KindInt), "pad_value": op.Required(ir.KindString),
			"separators": op.Opt(ir.KindStrings), "tokenexp": op.Opt(ir.KindString),
		},
		Infer: inferTokenizer, Ref: tokenizerRef, Cases: tokenizerCases{},
	})
}

type tokenizerCases struct{}

func (tokenizerCases) Cases() []op.Case {
	attrs := func(more map[string]*ir.Attr) map[string]*ir.Attr {
		a := map[string]*ir.Attr{"mark": ir.Int(0), "mincharnum": ir.Int(1), "pad_value": ir.Str("#")}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	strs := func(shape []int, s ...string) []*tensor.Tensor {
		return []*tensor.Tensor{tensor.FromStrings(s, shape...)}
	}
	return []op.Case{
		{Name: "expression", Attrs: attrs(map[string]*ir.Attr{"tokenexp": ir.Str("[a-z0-9]+"), "mincharnum": ir.Int(2)}), In: strs([]int{2, 1}, "the 1st, a b", "Über"),
			Out: strs([]int{2, 1, 2}, "the", "1st", "ber", "#")},
		{Name: "longest", Attrs: attrs(map[string]*ir.Attr{"tokenexp": ir.Str("a|ab")}), In: strs([]int{1}, "abba"), Out: strs([]int{1, 2}, "ab", "a")},
		{Name: "separators", Attrs: attrs(map[string]*ir.Attr{"separators": ir.Strs(" ", ";+"), "mark": ir.Int(1)}), In: strs([]int{2}, "a;;b c", ""),
			Out: strs([]int{2, 5}, "\x02", "a", "b", "c", "\x03", "\x02", "\x03", "#", "#", "#")},
		{Name: "characters", Attrs: attrs(map[string]*ir.Attr{"separators": ir.Strs("")}), In: strs([]int{2}, "éa", "b"), Out: strs([]int{2, 2}, "é", "a", "b", "#")},
		{Name: "none", Attrs: attrs(map[string]*ir.Attr{"tokenexp": ir.Str("x")}), In: strs([]int{2}, "a", "b"), Out: strs([]int{2, 0})},
	}
}

func inferTokenizer(c *op.Infer) error {
	if s := c.In[0].Shape; s != nil {
		if len(s) != 1 && len(s) != 2 {
			return fmt.Errorf("expected strings in one dimension or two, found %s", s)
		}
		c.Set(0, dtype.String, append(slices.Clone(s), shape.Unknown()))
	} else {
		c.Set(0, dtype.String, nil)
	}
	_, err := newTokenizer(c.Node)
	return err
}

// textTokenizer cuts one string.
type textTokenizer struct {
	expression *regexp.Regexp
	separators []*regexp.Regexp // neither: every character is a token
	least      int              // characters of a token; shorter ones are left out
}

func newTokenizer(n *ir.Node) (*textTokenizer, error) {
	t := &textTokenizer{least: n.Int("mincharnum")}
	separators := n.Strs("separators")
	if n.Has("tokenexp") == (len(separators) > 0) {
		return nil, fmt.Errorf("expected one of tokenexp and separators, found both or neither")
	}
	if t.least < 1 {
		return nil, fmt.Errorf("mincharnum is %d, expected 1 or more", t.least)
	}
	if n.Str("tokenexp") == "." || slices.Equal(separators, []string{""}) {
		if t.least > 1 {
			return nil, fmt.Errorf("mincharnum is %d, but every character is a token", t.least)
		}
		return t, nil
	}
	if n.Has("tokenexp") {
		var err error
		t.expression, err = longest(n.Str("tokenexp"))
		return t, err
	}
	for _, s := range separators {
		re, err := longest(s)
		if err != nil {
			return nil, err
		}
		if re.MatchString("") {
			return nil, fmt.Errorf("separator %q: expected an expression that does not match an empty text", s)
		}
		t.separators = append(t.separators, re)
	}
	return t, nil
}

func longest(expression string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", expression, err)
	}
	re.Longest()
	return re, nil
}

func (t *textTokenizer) cut(s string) []string {
	switch {
	case t.expression != nil:
		return t.matches(s)
	case t.separators != nil:
		parts := []string{s}
		for _, re := range t.separators {
			var next []string
			for _, p := range parts {
				next = t.between(next, p, re)
			}
			parts = next
		}
		return parts
	}
	var out []string
	for s != "" {
		_, n := utf8.DecodeRuneInString(s)
		out, s = append(out, s[:n]), s[n:]
	}
	return out
}

// matches gives what the expression matches. Nothing is no token.
func (t *textTokenizer) matches(s string) []string {
	var out []string
	for _, at := range t.expression.FindAllStringIndex(s, -1) {
		out = t.add(out, s[at[0]:at[1]])
	}
	return out
}

// between adds what is left between the separators.
func (t *textTokenizer) between(out []string, s string, re *regexp.Regexp) []string {
	begin := 0
	for _, at := range re.FindAllStringIndex(s, -1) {
		out, begin = t.add(out, s[begin:at[0]]), at[1]
	}
	return t.add(out, s[begin:])
}

func (t *textTokenizer) add(out []string, token string) []string {
	if token == "" || utf8.RuneCountInString(token) < t.least {
		return out
	}
	return append(out, token)
}

func tokenizerRef(c *op.Call) error {
	t, err := newTokenizer(c.Node)
	if err != nil {
		return err
	}
	x := c.In[0]
	mark, pad := c.Node.Int("mark") != 0, c.Node.Str("pad_value")
	rows := make([][]string, len(x.Strings))
	widest := 0
	for i, s := range x.Strings {
		rows[i] = t.cut(s)
		widest = max(widest, len(rows[i]))
	}
	if mark && widest > 0 { // marks alone are left out
		widest += 2
		for i, row := range rows {
			rows[i] = append(append([]string{"\x02"}, row...), "\x03")
		}
	}
	dims := append(slices.Clone(x.Shape), widest)
	if err := tensor.CheckSize(dims); err != nil {
		return err
	}
	y := c.Output(0, dtype.String, dims...).Strings
	for i, row := range rows {
		for j := range widest {
			y[i*widest+j] = pad
		}
		copy(y[i*widest:], row)
	}
	return nil
}
