package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/token/normalize"
	"github.com/salver-ml/salver/internal/token/pattern"
	"github.com/salver-ml/salver/internal/token/pretokenize"
)

// hfPattern is a text to look for, or an expression in Oniguruma's syntax.
type hfPattern struct {
	String *string `json:"String"`
	Regex  *string `json:"Regex"`
}

func (p hfPattern) compile() (*pattern.Pattern, error) {
	switch {
	case p.Regex != nil:
		return pattern.Compile(*p.Regex, pattern.Oniguruma)
	case p.String != nil:
		return pattern.Compile(quote(*p.String), pattern.Oniguruma)
	}
	return nil, errors.New("a pattern has neither String nor Regex")
}

// quote writes a text as an expression that matches it.
func quote(text string) string {
	out := make([]byte, 0, 2*len(text))
	for _, r := range text {
		if r < utf8.RuneSelf && pretokenize.IsPunctuation(r) {
			out = append(out, '\\')
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

func hfNormalizer(raw json.RawMessage, depth int) (normalize.Func, error) {
	kind, err := typeOf(raw)
	if err != nil || depth > maxNesting {
		return nil, errors.Join(err, tooDeep(depth))
	}
	var v struct {
		Type               string            `json:"type"`
		Normalizers        []json.RawMessage `json:"normalizers"`
		CleanText          bool              `json:"clean_text"`
		HandleChineseChars bool              `json:"handle_chinese_chars"`
		StripAccents       *bool             `json:"strip_accents"`
		Lowercase          bool              `json:"lowercase"`
		StripLeft          bool              `json:"strip_left"`
		StripRight         bool              `json:"strip_right"`
		Prepend            string            `json:"prepend"`
		Pattern            hfPattern         `json:"pattern"`
		Content            string            `json:"content"`
		Charsmap           string            `json:"precompiled_charsmap"`
	}
	if err := strict(raw, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	switch kind {
	case "Sequence":
		var steps []normalize.Func
		for _, r := range v.Normalizers {
			f, err := hfNormalizer(r, depth+1)
			if err != nil {
				return nil, err
			}
			steps = append(steps, f)
		}
		return normalize.Sequence(steps), nil
	case "BertNormalizer":
		b := normalize.Bert{Clean: v.CleanText, Chinese: v.HandleChineseChars, StripAccents: v.Lowercase, Lowercase: v.Lowercase}
		if v.StripAccents != nil {
			b.StripAccents = *v.StripAccents
		}
		return b.Func(), nil
	case "Strip":
		return normalize.Strip(v.StripLeft, v.StripRight), nil
	case "Prepend":
		return normalize.Prepend(v.Prepend), nil
	case "Replace":
		if v.Pattern.String != nil && v.Pattern.Regex == nil {
			return normalize.ReplaceString(*v.Pattern.String, v.Content), nil
		}
		p, err := v.Pattern.compile()
		return normalize.Replace(p, v.Content), err
	case "Precompiled":
		data, err := base64.StdEncoding.DecodeString(v.Charsmap)
		if err != nil {
			return nil, fmt.Errorf("Precompiled: %w", err)
		}
		c, err := normalize.ParseCharsmap(data)
		if err != nil {
			return nil, fmt.Errorf("Precompiled: %w", err)
		}
		return c.Graphemes, nil
	}
	if f := plainNormalizers[kind]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("type %q is unknown", kind)
}

// plainNormalizers are those without options.
var plainNormalizers = map[string]normalize.Func{
	"NFC": normalize.NFC, "NFD": normalize.NFD, "NFKC": normalize.NFKC, "NFKD": normalize.NFKD,
	"Lowercase": normalize.Lowercase, "StripAccents": normalize.StripAccents, "Nmt": normalize.Nmt, "ByteLevel": normalize.ByteLevel,
}

func tooDeep(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("more than %d sequences in each other", maxNesting)
	}
	return nil
}

var behaviors = map[string]pretokenize.Behavior{
	"": pretokenize.Isolated, "Isolated": pretokenize.Isolated, "Removed": pretokenize.Removed, "Contiguous": pretokenize.Contiguous,
	"MergedWithPrevious": pretokenize.MergedWithPrevious, "MergedWithNext": pretokenize.MergedWithNext,
}

var schemes = map[string]pretokenize.Scheme{"always": pretokenize.Always, "first": pretokenize.First, "never": pretokenize.Never}

// hfMetaspace are the fields of Metaspace, which is a pre-tokenizer and a decoder.
type hfMetaspace struct {
	Replacement    string  `json:"replacement"`
	PrependScheme  *string `json:"prepend_scheme"`
	AddPrefixSpace *bool   `json:"add_prefix_space"`
	Split          *bool   `json:"split"`
	StrRep         string  `json:"str_rep"`
}

func (m hfMetaspace) scheme() (pretokenize.Scheme, error) {
	scheme := pretokenize.Always
	if m.PrependScheme != nil {
		var ok bool
		if scheme, ok = schemes[*m.PrependScheme]; !ok {
			return 0, fmt.Errorf("prepend_scheme is %q, expected always, first or never", *m.PrependScheme)
		}
	}
	if m.AddPrefixSpace != nil && !*m.AddPrefixSpace {
		scheme = pretokenize.Never
	}
	if utf8.RuneCountInString(m.Replacement) != 1 {
		return 0, fmt.Errorf("replacement is %q, expected one character", m.Replacement)
	}
	return scheme, nil
}

// hfCut are the fields of all pre-tokenizers; each has some of them.
type hfCut struct {
	Type          string            `json:"type"`
	PreTokenizers []json.RawMessage `json:"pretokenizers"`
	hfMetaspace
	TrimOffsets      bool      `json:"trim_offsets"` // about positions in the text, which are not given
	UseRegex         *bool     `json:"use_regex"`
	Pattern          hfPattern `json:"pattern"`
	Behavior         string    `json:"behavior"`
	Invert           bool      `json:"invert"`
	IndividualDigits bool      `json:"individual_digits"`
	Delimiter        string    `json:"delimiter"`
	Length           int       `json:"length"`
}

func hfPreTokenizer(raw json.RawMessage, depth int) ([]pretokenize.Step, error) {
	kind, err := typeOf(raw)
	if err != nil || depth > maxNesting {
		return nil, errors.Join(err, tooDeep(depth))
	}
	var v hfCut
	if err := strict(raw, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if kind == "Sequence" {
		var all []pretokenize.Step
		for _, r := range v.PreTokenizers {
			steps, err := hfPreTokenizer(r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, steps...)
		}
		return all, nil
	}
	steps, err := v.steps(kind)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	return steps, nil
}

var (
	gpt2Cut = must(pattern.Compile(cutGPT2+`|\s+`, pattern.Oniguruma))
	wordCut = must(pattern.Compile(`\w+|[^\w\s]+`, pattern.Perl))
)

func (v *hfCut) steps(kind string) ([]pretokenize.Step, error) {
	behavior, ok := behaviors[v.Behavior]
	if !ok {
		return nil, fmt.Errorf("behavior %q is unknown", v.Behavior)
	}
	one := func(s pretokenize.Step) ([]pretokenize.Step, error) { return []pretokenize.Step{s}, nil }
	switch kind {
	case "ByteLevel":
		return v.byteLevel(), nil
	case "Split":
		p, err := v.Pattern.compile()
		if err != nil {
			return nil, err
		}
		return one(pretokenize.Regexp{Pattern: p, Behavior: behavior, Invert: v.Invert})
	case "Metaspace":
		scheme, err := v.scheme()
		if err != nil {
			return nil, err
		}
		return one(pretokenize.Metaspace{Mark: v.Replacement, Scheme: scheme, Whole: v.Split != nil && !*v.Split})
	case "Whitespace":
		return one(pretokenize.Regexp{Pattern: wordCut, Behavior: pretokenize.Removed, Invert: true})
	case "UnicodeScripts":
		return one(pretokenize.Scripts{})
	case "WhitespaceSplit":
		return one(bertSteps[0])
	case "BertPreTokenizer":
		return bertSteps, nil
	case "Digits":
		return one(pretokenize.Runes{Is: pretokenize.IsNumber, Behavior: choose(v.IndividualDigits, pretokenize.Isolated, pretokenize.Contiguous)})
	case "Punctuation":
		return one(pretokenize.Runes{Is: pretokenize.IsPunctuation, Behavior: behavior})
	case "CharDelimiterSplit":
		r, size := utf8.DecodeRuneInString(v.Delimiter)
		if size == 0 || size != len(v.Delimiter) {
			return nil, fmt.Errorf("delimiter is %q, expected one character", v.Delimiter)
		}
		return one(pretokenize.Runes{Is: func(c rune) bool { return c == r }, Behavior: pretokenize.Removed})
	case "FixedLength":
		if v.Length < 1 {
			return nil, fmt.Errorf("length is %d, expected at least 1", v.Length)
		}
		return one(pretokenize.FixedLength(v.Length))
	}
	return nil, errors.New("this type is unknown")
}

func choose[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}

func (v *hfCut) byteLevel() (steps []pretokenize.Step) {
	if v.AddPrefixSpace == nil || *v.AddPrefixSpace {
		steps = append(steps, pretokenize.PrefixSpace{})
	}
	if v.UseRegex == nil || *v.UseRegex {
		steps = append(steps, pretokenize.Regexp{Pattern: gpt2Cut})
	}
	return append(steps, pretokenize.ByteLevel{})
}
