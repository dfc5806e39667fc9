package answer

import (
	"context"
	"fmt"
	"time"

	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// MaxInputs bounds the texts of a request for embeddings, as OpenAI does.
const MaxInputs = 2048

// Input is a text, or its tokens.
type Input struct {
	Text string
	IDs  []int32 // nil: as the tokenizer makes them of the text
}

// ReadInputs reads what OpenAI's prompt and input may be: a text, texts,
// tokens, or arrays of tokens.
func ReadInputs(v fields.Value, most int) ([]Input, error) {
	if v.Kind() == "string" {
		s, err := v.Text()
		return []Input{{Text: s}}, err
	}
	if ids, err := v.IDs(); err == nil && len(ids) > 0 {
		return []Input{{IDs: ids}}, nil
	}
	list, err := v.Array(most)
	if err != nil {
		return nil, err
	}
	var out []Input
	for _, e := range list {
		var i Input
		switch e.Kind() {
		case "string":
			i.Text, err = e.Text()
		case "array":
			i.IDs, err = e.IDs()
		default:
			err = e.Errorf("expected a string, or an array of token ids")
		}
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	if len(out) == 0 {
		return nil, v.Errorf("expected at least one text")
	}
	return out, nil
}

// Encode makes tokens of a text for a model that takes so many: of a text that is
// much longer, not all. special adds what the model wants around it.
func Encode(t *token.Tokenizer, text string, special bool, limit int) []int32 {
	return t.Encode(text, token.EncodeOptions{AddSpecial: special, ParseSpecial: true, Most: textgen.MostOf(limit)})
}

// Known refuses ids that the vocabulary has not.
func Known(path string, ids []int32, t *token.Tokenizer) error {
	for _, id := range ids {
		if int(id) >= t.Size() {
			return &fields.Error{Path: path, Reason: fmt.Sprintf("this model has %d tokens, found the id %d", t.Size(), id)}
		}
	}
	return nil
}

// Embed makes a vector of each input and counts their tokens. dimensions is the
// number that is wanted, if it is.
func (s *Server) Embed(ctx context.Context, model string, inputs []Input, dimensions *int) (vectors [][]float32, tokens int, err error) {
	m, err := s.Embedder(model)
	if err != nil {
		return nil, 0, err
	}
	defer m.Release()
	ids, tokens, err := embeddingInputs(m.Model, inputs, dimensions)
	if err != nil {
		return nil, 0, err
	}
	start := time.Now()
	vectors, err = m.Model.Embed(ctx, ids)
	m.Count(start, len(ids), err)
	return vectors, tokens, err
}

func embeddingInputs(m textgen.Embedder, inputs []Input, dimensions *int) (ids [][]int32, total int, err error) {
	if d := m.Dimensions(); dimensions != nil && *dimensions != d {
		return nil, 0, &fields.Error{Path: "dimensions", Reason: fmt.Sprintf("this model's vectors have %d dimensions and are not cut, found %d", d, *dimensions)}
	}
	t := m.Tokenizer()
	for i, in := range inputs {
		path := fmt.Sprintf("input[%d]", i)
		switch {
		case in.IDs == nil && in.Text == "":
			return nil, 0, &fields.Error{Path: path, Reason: "expected a text, found an empty one"}
		case in.IDs == nil:
			in.IDs = Encode(t, in.Text, true, m.MaxTokens())
		default:
			if err := Known(path, in.IDs, t); err != nil {
				return nil, 0, err
			}
		}
		if n := len(in.IDs); n == 0 {
			return nil, 0, &fields.Error{Path: path, Reason: "expected at least one token, found none"}
		} else if n > m.MaxTokens() {
			return nil, 0, textgen.TooLong(n, m.MaxTokens())
		}
		total += len(in.IDs)
		ids = append(ids, in.IDs)
	}
	return ids, total, nil
}
