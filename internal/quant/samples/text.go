package samples

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/token"
)

// textLines are texts, one a line.
type textLines struct {
	*lines
	tokens *tokens
}

func openText(path string, g *ir.Graph, o Options) (source, error) {
	t, err := newTokens(g, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l, err := index(path, func(int, []byte) error { return nil })
	if err != nil {
		return nil, err
	}
	return &textLines{l, t}, nil
}

func (t *textLines) label(int) (int, bool) { return 0, false }

func (t *textLines) read(_ context.Context, i int) ([]*tensor.Tensor, error) {
	line, err := t.line(i)
	if err != nil {
		return nil, err
	}
	return t.tokens.encode(string(line))
}

// tokens turn a text into the inputs of an encoder.
type tokens struct {
	graph     *ir.Graph
	tokenizer *token.Tokenizer
	most      int // tokens of a text
	exact     bool
	pad       int32
}

// defaultTokens is Options.MaxTokens where nothing is said.
const defaultTokens = 256

// roles are the inputs of encoders, and what they hold for token i of n with
// number id; tokens from n on fill up.
var roles = map[string]func(i, n int, id int32) int{
	"input_ids":      func(_, _ int, id int32) int { return int(id) },
	"token_type_ids": func(int, int, int32) int { return 0 },
	"position_ids":   func(i, _ int, _ int32) int { return i },
	"attention_mask": func(i, n int, _ int32) int {
		if i < n {
			return 1
		}
		return 0
	},
}

func newTokens(g *ir.Graph, o Options) (*tokens, error) {
	t := &tokens{graph: g, most: o.MaxTokens}
	if t.most == 0 {
		t.most = defaultTokens
	}
	if t.most < 0 {
		return nil, fmt.Errorf("at most %d tokens: expected 1 or more", t.most)
	}
	ids := false
	for _, v := range g.Inputs {
		ids = ids || v.Name == "input_ids"
		dt := v.Type.DType
		if roles[v.Name] == nil || len(v.Type.Shape) != 2 || dt != dtype.Int64 && dt != dtype.Int32 || !fits(v.Type.Shape[:1], []int{1}) {
			return nil, fmt.Errorf("texts fill inputs that are called input_ids, attention_mask, token_type_ids or position_ids, int64 or int32, [1,length]; the model has %s: give .npz or .jsonl", InputNames(g))
		}
		if n, ok := v.Type.Shape[1].Int(); ok {
			if t.exact && n != t.most || n < 1 {
				return nil, fmt.Errorf("expected inputs of one length, 1 or more; the model has %s", InputNames(g))
			}
			t.most, t.exact = n, true
		}
	}
	if !ids {
		return nil, fmt.Errorf("texts fill an input that is called input_ids; the model has %s", InputNames(g))
	}
	var err error
	if t.tokenizer, err = token.FromFolder(os.DirFS(filepath.Dir(o.Model))); err != nil {
		return nil, fmt.Errorf("texts need a tokenizer beside the model (tokenizer.json): %s: %w", filepath.Dir(o.Model), err)
	}
	for _, piece := range []string{"[PAD]", "<pad>"} {
		if id, ok := t.tokenizer.ID(piece); ok {
			t.pad = id
			break
		}
	}
	return t, nil
}

// encode makes the inputs of a text. One that is too long loses what is before
// its last special token.
func (t *tokens) encode(text string) ([]*tensor.Tensor, error) {
	ids := t.tokenizer.Encode(strings.TrimSpace(text), token.EncodeOptions{AddSpecial: true})
	if n := len(ids); n > t.most {
		last := ids[n-1]
		if ids = ids[:t.most]; t.tokenizer.IsSpecial(last) {
			ids[t.most-1] = last
		}
	}
	n := len(ids)
	if n == 0 {
		return nil, fmt.Errorf("the text %.40q has no tokens", text)
	}
	for t.exact && len(ids) < t.most {
		ids = append(ids, t.pad)
	}
	in := make([]*tensor.Tensor, len(t.graph.Inputs))
	for k, v := range t.graph.Inputs {
		in[k] = tensor.New(v.Type.DType, 1, len(ids))
		for i, id := range ids {
			value := roles[v.Name](i, n, id)
			if v.Type.DType == dtype.Int32 {
				tensor.Of[int32](in[k])[i] = int32(value)
			} else {
				tensor.Of[int64](in[k])[i] = int64(value)
			}
		}
	}
	return in, nil
}
