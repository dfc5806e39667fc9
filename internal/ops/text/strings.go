// Package text registers operators on strings.
package text

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "StringConcat", Versions: []int{20}, Doc: "joins strings element by element",
		In: op.Ports("X:string", "Y:string"), Out: op.Ports("Z:string"),
		Infer: op.BroadcastInputs, Ref: concatRef, Rows: op.RowsBroadcast, Cases: concatCases{},
	})
	op.Register(&op.Op{
		Name: "StringSplit", Versions: []int{20}, Doc: "cuts strings at a delimiter, or at white space",
		In: op.Ports("X:string"), Out: op.Ports("Y:string", "Z:int64"),
		Attrs: op.Attrs{"delimiter": op.Opt(ir.KindString), "maxsplit": op.Opt(ir.KindInt)},
		Infer: splitInfer, Ref: splitRef, Cases: splitCases{},
	})
	op.Register(&op.Op{
		Name: "RegexFullMatch", Versions: []int{20}, Doc: "whether a regular expression (RE2) matches the whole string",
		In: op.Ports("X:string"), Out: op.Ports("Y:bool"), Attrs: op.Attrs{"pattern": op.Opt(ir.KindString)},
		Infer: matchInfer, Ref: matchRef, Compile: compileMatch, Rows: op.RowsBroadcast, Cases: matchCases{},
	})
	op.Register(&op.Op{
		Name: "StringNormalizer", Versions: []int{10}, Doc: "removes stop words and changes the case",
		In: op.Ports("X:string"), Out: op.Ports("Y:string"),
		Attrs: op.Attrs{
			"case_change_action": op.Default(ir.Str("NONE")), "is_case_sensitive": op.Default(ir.Int(0)),
			"locale": op.Opt(ir.KindString), "stopwords": op.Opt(ir.KindStrings),
		},
		Infer: normalizeInfer, Ref: normalizeRef, Cases: normalizeCases{},
	})
}

func concatRef(c *op.Call) error {
	x, y := c.In[0], c.In[1]
	dims, err := num.BroadcastShape(x.Shape, y.Shape)
	if err != nil {
		return err
	}
	out := c.Output(0, dtype.String, dims...).Strings
	right := num.Broadcast(y.Strings, y.Shape, dims)
	for i, s := range num.Broadcast(x.Strings, x.Shape, dims) {
		out[i] = s + right[i]
	}
	return nil
}

func splitInfer(c *op.Infer) error {
	s := c.In[0].Shape
	c.Set(0, dtype.String, nil)
	if s != nil {
		c.Set(0, dtype.String, append(slices.Clone(s), shape.Unknown()))
	}
	c.Set(1, dtype.Int64, s)
	return nil
}

// words cuts s at the delimiter (white space if empty) at most limit times;
// limit < 0 is unlimited.
func words(s, delimiter string, limit int) []string {
	if delimiter != "" {
		if limit >= 0 {
			limit++
		}
		return strings.SplitN(s, delimiter, limit)
	}
	var out []string
	s = strings.TrimFunc(s, unicode.IsSpace)
	for s != "" {
		end := strings.IndexFunc(s, unicode.IsSpace)
		if end < 0 || limit >= 0 && len(out) == limit {
			return append(out, s)
		}
		out = append(out, s[:end])
		s = strings.TrimLeftFunc(s[end:], unicode.IsSpace)
	}
	return out
}

func splitRef(c *op.Call) error {
	x := c.In[0]
	limit := -1
	if c.Node.Has("maxsplit") {
		limit = c.Node.Int("maxsplit")
	}
	parts := make([][]string, len(x.Strings))
	widest := 0
	for i, s := range x.Strings {
		parts[i] = words(s, c.Node.Str("delimiter"), limit)
		widest = max(widest, len(parts[i]))
	}
	out := c.Output(0, dtype.String, append(slices.Clone(x.Shape), widest)...).Strings
	counts := tensor.Of[int64](c.Output(1, dtype.Int64, x.Shape...))
	clear(out)
	for i, p := range parts {
		copy(out[i*widest:], p)
		counts[i] = int64(len(p))
	}
	return nil
}

// pattern compiles the attribute so that it matches whole strings only.
func pattern(n *ir.Node) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`\A(?:` + n.Str("pattern") + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", n.Str("pattern"), err)
	}
	return re, nil
}

func matchInfer(c *op.Infer) error {
	c.Set(0, dtype.Bool, c.In[0].Shape)
	_, err := pattern(c.Node)
	return err
}

func matchRef(c *op.Call) error {
	re, err := pattern(c.Node)
	if err != nil {
		return err
	}
	return match(re, c)
}

// compileMatch compiles the pattern once.
func compileMatch(p *op.Prep) (op.Kernel, error) {
	re, err := pattern(p.Node)
	return op.KernelFunc(func(c *op.Call) error { return match(re, c) }), err
}

func match(re *regexp.Regexp, c *op.Call) error {
	out := tensor.Of[bool](c.Output(0, dtype.Bool, c.In[0].Shape...))
	for i, s := range c.In[0].Strings {
		out[i] = re.MatchString(s)
	}
	return nil
}

func normalizeInfer(c *op.Infer) error {
	s := c.In[0].Shape
	switch {
	case s == nil:
		c.Set(0, dtype.String, nil)
	case len(s) == 1:
		c.Set(0, dtype.String, shape.Unknowns(1))
	case len(s) == 2:
		c.Set(0, dtype.String, shape.Shape{s[0], shape.Unknown()})
	default:
		return fmt.Errorf("input has shape %v, expected [n] or [1,n]", s)
	}
	return nil
}

func normalizeRef(c *op.Call) error {
	x := c.In[0]
	if x.Rank() < 1 || x.Rank() > 2 || x.Rank() == 2 && x.Shape[0] != 1 {
		return fmt.Errorf("input is %s, expected [n] or [1,n]", x)
	}
	change := func(s string) string { return s }
	switch a := c.Node.Str("case_change_action"); a {
	case "LOWER":
		change = strings.ToLower
	case "UPPER":
		change = strings.ToUpper
	case "NONE":
	default:
		return fmt.Errorf("case_change_action: expected LOWER, UPPER or NONE, found %q", a)
	}
	fold := strings.ToLower
	if c.Node.Bool("is_case_sensitive") {
		fold = func(s string) string { return s }
	}
	stop := map[string]bool{}
	for _, w := range c.Node.Strs("stopwords") {
		stop[fold(w)] = true
	}
	var kept []string
	for _, s := range x.Strings {
		if !stop[fold(s)] {
			kept = append(kept, change(s))
		}
	}
	if len(kept) == 0 {
		kept = []string{""}
	}
	dims := slices.Clone(x.Shape)
	dims[len(dims)-1] = len(kept)
	copy(c.Output(0, dtype.String, dims...).Strings, kept)
	return nil
}
