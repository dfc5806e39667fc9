package ollama

import (
	"fmt"
	"net/http"
	"time"

	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/serve"
)

// listed is a model in a list.
type listed struct {
	Name       string    `json:"name"`
	Model      string    `json:"model"`
	ModifiedAt time.Time `json:"modified_at"`
	Size       int64     `json:"size"`
	Digest     string    `json:"digest"`
	Details    details   `json:"details"`
	Context    int       `json:"context_length,omitempty"`
}

type details struct {
	ParentModel       string   `json:"parent_model"`
	Format            string   `json:"format"`
	Family            string   `json:"family"`
	Families          []string `json:"families"`
	ParameterSize     string   `json:"parameter_size"`
	QuantizationLevel string   `json:"quantization_level"`
}

func detailsOf(e *serve.TextEntry) details {
	d := details{Family: e.Info.Architecture, Families: []string{e.Info.Architecture}}
	if e.Info.Architecture == "" {
		d.Families = []string{}
	}
	switch n := float64(e.Info.Parameters); {
	case n >= 1e9:
		d.ParameterSize = fmt.Sprintf("%.1fB", n/1e9)
	case n >= 1e6:
		d.ParameterSize = fmt.Sprintf("%.1fM", n/1e6)
	case n > 0:
		d.ParameterSize = fmt.Sprintf("%.0fK", n/1e3)
	}
	return d
}

// tags answers /api/tags and /api/ps: what there is is loaded.
func (h *handler) tags(w http.ResponseWriter, r *http.Request, _ []byte) error {
	list := []listed{}
	for _, e := range h.Core.TextModels() {
		list = append(list, listed{e.Name, e.Name, e.Loaded.UTC(), e.MemoryBytes, "", detailsOf(&e), e.Info.Context})
	}
	reply.JSON(w, http.StatusOK, struct {
		Models []listed `json:"models"`
	}{list})
	return nil
}

// shownRequest names a model.
type shownRequest struct {
	model string
	extra bool
}

var showFields = fields.Table[*shownRequest]{
	fields.Text("model", "Its name.", answer.MaxName, func(q *shownRequest) *string { return &q.model }),
	fields.Text("name", "The same, by its old name.", answer.MaxName, func(q *shownRequest) *string { return &q.model }),
	fields.Bool("verbose", "There is nothing more.", func(q *shownRequest) *bool { return &q.extra }),
}

// shown describes a model.
type shown struct {
	ModifiedAt   time.Time      `json:"modified_at"`
	Details      details        `json:"details"`
	ModelInfo    map[string]any `json:"model_info"`
	Capabilities []string       `json:"capabilities"`
}

// show answers /api/show.
func (h *handler) show(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(showFields, body)
	if err != nil {
		return err
	}
	if e := h.Entry(q.model); e != nil {
		reply.JSON(w, http.StatusOK, h.shown(e))
		return nil
	}
	return &answer.Problem{Status: http.StatusNotFound, Message: fmt.Sprintf("model %q not found", q.model)}
}

func (h *handler) shown(e *serve.TextEntry) *shown {
	s := &shown{ModifiedAt: e.Loaded.UTC(), Details: detailsOf(e), Capabilities: []string{}, ModelInfo: map[string]any{}}
	if e.Generates {
		s.Capabilities = append(s.Capabilities, "completion")
		a := e.Info.Architecture
		s.ModelInfo["general.architecture"] = a
		s.ModelInfo["general.parameter_count"] = e.Info.Parameters
		s.ModelInfo[a+".context_length"] = e.Info.Context
		s.ModelInfo[a+".vocab_size"] = e.Info.Vocabulary
		if h.calls(e.Name) {
			s.Capabilities = append(s.Capabilities, "tools")
		}
	}
	if e.Embeds {
		s.Capabilities = append(s.Capabilities, "embedding")
	}
	return s
}

// calls reports whether a model's template has a form of tool calls.
func (h *handler) calls(model string) bool {
	m, err := h.Model(model)
	if err != nil {
		return false
	}
	defer m.Release()
	t, err := m.Model.ChatTemplate()
	return err == nil && answer.CallsTools(t)
}

// version answers /api/version.
func (h *handler) version(w http.ResponseWriter, r *http.Request, _ []byte) error {
	reply.JSON(w, http.StatusOK, struct {
		Version string `json:"version"`
	}{h.Version})
	return nil
}

// embedRequest is a request for vectors of texts.
type embedRequest struct {
	model      string
	inputs     []answer.Input
	dimensions *int
	options    request // read to find what is no option
}

var embedFields = fields.Table[*embedRequest]{
	fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *embedRequest) *string { return &q.model }),
	fields.Any("input", "string, or array of at most 2048 strings", "The texts. One that is empty, or longer than the model takes, is an error.", func(q *embedRequest, v fields.Value) error {
		list, err := v.Strings(answer.MaxInputs)
		for _, text := range list {
			q.inputs = append(q.inputs, answer.Input{Text: text})
		}
		return err
	}),
	fields.Int("dimensions", "Only the model's own number.", 1, fields.Many, func(q *embedRequest) **int { return &q.dimensions }),
	fields.Ignore[*embedRequest]("truncate", "a text is never cut: one that is too long is an error"),
	fields.Object("options", "Those of the other requests; none changes a vector.", optionFields, func(q *embedRequest) *request { return &q.options }),
	fields.Ignore[*embedRequest]("keep_alive", "models stay loaded"),
}

// embedOneFields are those of /api/embeddings, which Ollama had before /api/embed.
var embedOneFields = append(fields.Table[*embedRequest]{
	fields.Any("prompt", "string", "The text.", func(q *embedRequest, v fields.Value) error {
		text, err := v.Text()
		q.inputs = []answer.Input{{Text: text}}
		return err
	}),
}, embedFields.But("input", "dimensions", "truncate")...)

// embedOne answers /api/embeddings.
func (h *handler) embedOne(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(embedOneFields, body)
	if err != nil {
		return err
	}
	if len(q.inputs) == 0 {
		return &fields.Error{Path: "prompt", Reason: "expected a text"}
	}
	vectors, _, err := h.Embed(r.Context(), q.model, q.inputs, nil)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, struct {
		Embedding []float32 `json:"embedding"`
	}{vectors[0]})
	return nil
}

// embed answers /api/embed.
func (h *handler) embed(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(embedFields, body)
	if err != nil {
		return err
	}
	if len(q.inputs) == 0 {
		return &fields.Error{Path: "input", Reason: "expected a text"}
	}
	start := time.Now()
	vectors, total, err := h.Embed(r.Context(), q.model, q.inputs, q.dimensions)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, struct {
		Model           string      `json:"model"`
		Embeddings      [][]float32 `json:"embeddings"`
		TotalDuration   int64       `json:"total_duration"`
		LoadDuration    int64       `json:"load_duration"`
		PromptEvalCount int         `json:"prompt_eval_count"`
	}{q.model, vectors, int64(time.Since(start)), 0, total})
	return nil
}
