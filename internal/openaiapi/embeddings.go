package openaiapi

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
)

// embeddingRequest is a request for vectors of texts.
type embeddingRequest struct {
	model, encoding string
	inputs          []answer.Input
	dimensions      *int
}

var embeddingFields = concat(
	fields.Table[*embeddingRequest]{
		fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *embeddingRequest) *string { return &q.model }),
		fields.Any("input", fmt.Sprintf("string, array of at most %d strings, of token ids, or of arrays of token ids", answer.MaxInputs), "The texts. One that is empty, or longer than the model takes, is an error.", func(q *embeddingRequest, v fields.Value) (err error) {
			q.inputs, err = answer.ReadInputs(v, answer.MaxInputs)
			return err
		}),
		fields.OneOf("encoding_format", "Numbers, or little-endian float32 in base64. Default: float.", func(q *embeddingRequest) *string { return &q.encoding }, "float", "base64"),
		fields.Int("dimensions", "Only the model's own number: vectors are not cut.", 1, fields.Many, func(q *embeddingRequest) **int { return &q.dimensions }),
		fields.Refuse[*embeddingRequest]("truncate_prompt_tokens", "a text is never cut"),
	},
	accepted[*embeddingRequest](),
)

// embed answers /v1/embeddings.
func (h *handler) embed(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(embeddingFields, body)
	if err != nil {
		return err
	}
	if q.inputs == nil {
		return &fields.Error{Path: "input", Reason: "expected a text, or tokens"}
	}
	vectors, total, err := h.Embed(r.Context(), q.model, q.inputs, q.dimensions)
	if err != nil {
		return err
	}
	a := openai.Embeddings{Object: "list", Data: []openai.Embedding{}, Model: q.model, Usage: openai.InputUsage{PromptTokens: total, TotalTokens: total}}
	for i, x := range vectors {
		e := openai.Embedding{Object: "embedding", Index: i, Embedding: x}
		if q.encoding == "base64" {
			e.Embedding = encodeVector(x)
		}
		a.Data = append(a.Data, e)
	}
	reply.JSON(w, http.StatusOK, &a)
	return nil
}

func encodeVector(x []float32) string {
	b := make([]byte, 0, 4*len(x))
	for _, f := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(b)
}
