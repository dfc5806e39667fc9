package backend

import (
	"context"
	"unicode/utf8"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// openEncoder serves what makes vectors of texts, or scores pairs of them.
func openEncoder(e *llm.Encoder) serve.Backend {
	if m, ok := e.Embedder(); ok {
		return Embedder{m}
	}
	m, _ := e.Reranker()
	return Reranker{m}
}

// joinsItself is why the server joins no requests for an encoder.
const joinsItself = "the texts of a request run together"

// Embedder makes vectors of texts: for the protocols of language models, and for
// the Open Inference Protocol as a model from a text to its vector.
type Embedder struct{ *llm.Embedder }

// Inputs and Outputs describe the model as one from a text to a vector.
func (e Embedder) Inputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "text_input", DType: dtype.String, Shape: []int{1}}}
}

func (e Embedder) Outputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "embedding", DType: dtype.Float32, Shape: []int{e.Dimensions()}}}
}

// Batchable is false.
func (e Embedder) Batchable() (bool, string) { return false, joinsItself }

// Run reads one text.
func (e Embedder) Run(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	text := inputs[0].Strings[0]
	if !utf8.ValidString(text) {
		return nil, nil, serve.Errorf(serve.InvalidArgument, "text_input is not valid UTF-8")
	}
	ids := e.Tokenizer().Encode(text, token.EncodeOptions{AddSpecial: true, Most: textgen.MostOf(e.MaxTokens())})
	vectors, err := e.Embed(ctx, [][]int32{ids})
	if err != nil {
		return nil, nil, classifyText(err)
	}
	return []*tensor.Tensor{tensor.FromSlice(vectors[0], len(vectors[0]))}, func() {}, nil
}

// Reranker scores documents by a query.
type Reranker struct{ *llm.Reranker }

// Inputs and Outputs describe the model as one from a query and documents to scores.
func (r Reranker) Inputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "query", DType: dtype.String, Shape: []int{1}}, {Name: "documents", DType: dtype.String, Shape: []int{-1}}}
}

func (r Reranker) Outputs() []serve.TensorInfo {
	return []serve.TensorInfo{{Name: "scores", DType: dtype.Float32, Shape: []int{-1}}}
}

// Batchable is false.
func (r Reranker) Batchable() (bool, string) { return false, joinsItself }

// Run scores the documents.
func (r Reranker) Run(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	for _, t := range inputs {
		for _, s := range t.Strings {
			if !utf8.ValidString(s) {
				return nil, nil, serve.Errorf(serve.InvalidArgument, "a text is not valid UTF-8")
			}
		}
	}
	scores, _, err := r.Score(ctx, inputs[0].Strings[0], inputs[1].Strings)
	if err != nil {
		return nil, nil, classifyText(err)
	}
	return []*tensor.Tensor{tensor.FromSlice(scores, len(scores))}, func() {}, nil
}
