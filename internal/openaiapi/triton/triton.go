// Package triton answers Triton's generate extension of the Open Inference
// Protocol for language models. docs/OPENAI_API.md has its fields.
package triton

import (
	"net/http"
	"slices"

	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/textgen"
)

type handler struct{ *answer.Server }

// API is the extension, to be mounted on the HTTP port.
func API(s *answer.Server) rest.API {
	h := &handler{s}
	post := func(pattern string, stream bool) rest.Route {
		return rest.Route{Method: "POST", Pattern: pattern, Access: oip.Use, Serve: func(w http.ResponseWriter, r *http.Request, body []byte) {
			if err := h.generate(w, r, body, stream); err != nil {
				p := answer.AsProblem(err, h.Log)
				p.SetRetryAfter(w.Header())
				reply.JSON(w, p.Status, errorBody{p.Error()})
			}
		}}
	}
	var routes []rest.Route
	for _, model := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		routes = append(routes, post(model+"/generate", false), post(model+"/generate_stream", true))
	}
	return rest.API{Routes: routes}
}

type errorBody struct {
	Error string `json:"error"`
}

// request is a request to continue a text.
type request struct {
	id, text string
	answer.Settings
	echo bool
}

var parameterFields = append(fields.Table[*request]{
	fields.Int("max_tokens", "Tokens of the answer, at most. Default: 16.", 1, fields.Many, func(q *request) **int { return &q.MaxTokens }),
	fields.Any("exclude_input_in_output", "boolean", "false begins the answer with the text. Default: true.", func(q *request, v fields.Value) error {
		without, err := v.Bool()
		q.echo = !without
		return err
	}),
	fields.Ignore[*request]("stream", "the path says it"),
	fields.Any("stop_words", "as `stop`", "As `stop`; of an empty string there are none.", func(q *request, v fields.Value) error {
		if string(v.Raw) == `""` { // as in the examples of TensorRT-LLM
			return nil
		}
		return q.ReadStop(v)
	}),
	fields.Refuse[*request]("bad_words", "use logit_bias", `""`, "[]"),
	fields.Refuse[*request]("beam_width", "there is no beam search", "1"),
}, fields.In(slices.Concat(answer.OpenAI.But("n"), answer.VLLM.But("bad_words"), fields.Table[*answer.Settings]{answer.Seed("random_seed", "As `seed`.")}), func(q *request) *answer.Settings { return &q.Settings })...)

var requestFields = append(fields.Table[*request]{
	fields.Text("id", "Repeated in the answer.", answer.MaxName, func(q *request) *string { return &q.id }),
	fields.Text("text_input", "The text to continue.", fields.Many, func(q *request) *string { return &q.text }),
	fields.Any("parameters", "object", "The fields below; they may also stand beside it.", func(q *request, v fields.Value) error {
		return parameterFields.Read(v, q)
	}),
}, parameterFields...)

// output is the answer, or a piece of it.
type output struct {
	ID      string `json:"id,omitempty"`
	Model   string `json:"model_name"`
	Version string `json:"model_version"`
	Text    string `json:"text_output"`
}

// usualTokens is vLLM's default of max_tokens under Triton.
const usualTokens = 16

func (h *handler) generate(w http.ResponseWriter, r *http.Request, body []byte, stream bool) error {
	q, err := fields.ReadBody(requestFields, body)
	if err != nil {
		return err
	}
	if q.MaxTokens == nil {
		n := usualTokens
		q.MaxTokens = &n
	}
	m, err := h.Core.TextModel(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		return err
	}
	defer m.Release()
	info := m.Model.Info()
	if err := q.Check(&info, stream); err != nil {
		return err
	}
	prompt := answer.Encode(m.Model.Tokenizer(), q.text, true, info.Context-1)
	if err := answer.Fit(prompt, &info); err != nil {
		return err
	}
	o := output{ID: q.id, Model: m.Name, Version: m.Version}
	if q.echo {
		o.Text = q.text
	}
	generate := func(emit func(*textgen.Event) error) error {
		_, err := m.Model.Generate(r.Context(), q.Request(prompt, &info, 1, oip.Tenant(r.Context())), emit)
		return err
	}
	if stream {
		return h.stream(w, &o, generate)
	}
	text := []byte(o.Text)
	err = generate(func(e *textgen.Event) error {
		text = append(text, e.Text...)
		return nil
	})
	if err == nil {
		o.Text = string(text)
		reply.JSON(w, http.StatusOK, &o)
	}
	return err
}

func (h *handler) stream(w http.ResponseWriter, o *output, generate func(func(*textgen.Event) error) error) error {
	out := reply.Events(w)
	defer out.Close()
	err := generate(func(e *textgen.Event) error {
		o.Text += e.Text
		err := out.Send(o)
		o.Text = ""
		return err
	})
	if err == nil || !out.Began() {
		return err
	}
	if p := answer.AsProblem(err, h.Log); p.Status != answer.StatusCanceled {
		out.Send(errorBody{p.Error()})
	}
	return nil
}
