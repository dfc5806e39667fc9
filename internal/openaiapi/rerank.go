package openaiapi

import (
	"fmt"
	"net/http"
	"sort"
	"time"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
)

// maxDocuments bounds the documents of a request.
const maxDocuments = 1024

// rerankRequest asks for documents by relevance, in Jina's and Cohere's form.
type rerankRequest struct {
	model, query string
	documents    []string
	top          *int
	show         bool
}

var rerankFields = fields.Table[*rerankRequest]{
	fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *rerankRequest) *string { return &q.model }),
	fields.Text("query", "What the documents are compared with.", fields.Many, func(q *rerankRequest) *string { return &q.query }),
	fields.Any("documents", fmt.Sprintf("array of 1 to %d strings or `{\"text\":…}`", maxDocuments), "", func(q *rerankRequest, v fields.Value) (err error) {
		q.documents, err = readDocuments(v)
		return err
	}),
	fields.Int("top_n", "Gives so many of the most relevant. Default: all.", 1, maxDocuments, func(q *rerankRequest) **int { return &q.top }),
	fields.Bool("return_documents", "Repeats the documents in the answer.", func(q *rerankRequest) *bool { return &q.show }),
	fields.Ignore[*rerankRequest]("user", "fairness is by API key"),
	fields.Refuse[*rerankRequest]("max_chunks_per_doc", "a document is never cut"),
	fields.Refuse[*rerankRequest]("max_tokens_per_doc", "a document is never cut"),
	fields.Refuse[*rerankRequest]("truncate_prompt_tokens", "a document is never cut"),
}

var documentFields = fields.Table[*string]{fields.Text("text", "", fields.Many, func(s *string) *string { return s })}

func readDocuments(v fields.Value) ([]string, error) {
	list, err := v.Array(maxDocuments)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(list))
	for i, e := range list {
		if e.Kind() == "object" {
			err = documentFields.Read(e, &out[i])
		} else {
			out[i], err = e.Text()
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rerank answers /v1/rerank.
func (h *handler) rerank(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(rerankFields, body)
	if err != nil {
		return err
	}
	switch {
	case q.query == "":
		return &fields.Error{Path: "query", Reason: "expected a text"}
	case len(q.documents) == 0:
		return &fields.Error{Path: "documents", Reason: "expected at least one"}
	}
	m, err := h.Reranker(q.model)
	if err != nil {
		return err
	}
	defer m.Release()
	start := time.Now()
	scores, tokens, err := m.Model.Score(r.Context(), q.query, q.documents)
	m.Count(start, len(q.documents), err)
	if err != nil {
		return err
	}
	a := openai.Reranking{ID: newID("rerank-"), Model: q.model, Results: []openai.RankedResult{}, Usage: openai.InputUsage{PromptTokens: tokens, TotalTokens: tokens}}
	for i, s := range scores {
		res := openai.RankedResult{Index: i, Relevance: s}
		if q.show {
			res.Document = &openai.RankedDocument{Text: q.documents[i]}
		}
		a.Results = append(a.Results, res)
	}
	sort.SliceStable(a.Results, func(i, j int) bool { return a.Results[i].Relevance > a.Results[j].Relevance })
	if q.top != nil {
		a.Results = a.Results[:min(*q.top, len(a.Results))]
	}
	reply.JSON(w, http.StatusOK, &a)
	return nil
}
