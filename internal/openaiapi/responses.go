package openaiapi

import (
	"encoding/json"
	"net/http"
	"slices"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/textgen"
)

// responseRequest is a request of the Responses API. Nothing is stored, so
// that the whole conversation is in its input.
type responseRequest struct {
	model        string
	instructions *string
	answer.Conversation
	answer.Settings
	tools    json.RawMessage // as they came
	metadata json.RawMessage
	stream   bool
	logprobs bool
}

var responseFields = concat(
	fields.Table[*responseRequest]{
		fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *responseRequest) *string { return &q.model }),
		fields.Any("input", "string, or array of items", "A user's message, or the conversation: items of the types message, function_call, function_call_output and reasoning.", func(q *responseRequest, v fields.Value) (err error) {
			q.Messages, err = readItems(v)
			return err
		}),
		fields.Any("instructions", "string", "A system message before the input.", func(q *responseRequest, v fields.Value) error {
			s, err := v.Text()
			q.instructions = &s
			return err
		}),
		fields.Any("tools", "array of at most 128 functions", "Functions that the model may call. Tools that a server would run are errors.", func(q *responseRequest, v fields.Value) (err error) {
			q.tools = v.Raw
			q.Tools, err = answer.ReadTools(v, flatToolFields, "function")
			return err
		}),
	},
	fields.In(toolChoiceFields, func(q *responseRequest) *answer.Conversation { return &q.Conversation }),
	fields.Table[*responseRequest]{
		fields.Int("max_output_tokens", "Tokens of the answer, at most. Default: as many as the context has room for.", 1, fields.Many, func(q *responseRequest) **int { return &q.MaxTokens }),
		fields.Float("temperature", "How far less likely tokens are considered; 0 is greedy. Default: as the model suggests, or 1.", 0, 2, func(q *responseRequest) **float32 { return &q.Temperature }),
		fields.Float("top_p", "Considers the likeliest tokens that together have this probability.", 0, 1, func(q *responseRequest) **float32 { return &q.TopP }),
		fields.Any("reasoning", "object: effort, summary", "`effort` is given to the model's template as `reasoning_effort`; `summary` may come: there are none, since reasoning is shown as it is.", func(q *responseRequest, v fields.Value) error {
			return reasoningFields.Read(v, q)
		}),
		fields.Bool("stream", "Sends the answer as events while it is made.", func(q *responseRequest) *bool { return &q.stream }),
		fields.Any("metadata", "object", "Repeated in the answer.", func(q *responseRequest, v fields.Value) error {
			q.metadata = v.Raw
			_, err := v.Object()
			return err
		}),
		fields.Any("text", "object: format, verbosity", "The only format is text.", func(q *responseRequest, v fields.Value) error { return responseTextFields.Read(v, q) }),
		fields.Any("stream_options", "object: include_obfuscation, include_usage", "Pieces are never padded; the last one always has the usage.", func(q *responseRequest, v fields.Value) error {
			return fields.Table[*responseRequest]{fields.Ignore[*responseRequest]("include_obfuscation", ""), fields.Ignore[*responseRequest]("include_usage", "")}.Read(v, q)
		}),
		fields.Refuse[*responseRequest]("truncation", "a conversation is never cut", `"disabled"`),
		fields.Refuse[*responseRequest]("previous_response_id", "nothing is stored: send the conversation as input"),
		fields.Refuse[*responseRequest]("conversation", "nothing is stored: send the conversation as input"),
		fields.Refuse[*responseRequest]("prompt", "nothing is stored: send the prompt as instructions"),
		fields.Refuse[*responseRequest]("background", "nothing is stored", "false"),
		fields.Refuse[*responseRequest]("context_management", "a conversation is never cut", "[]"),
		fields.Any("include", "array of strings", "`message.output_text.logprobs` gives the probability of each token of the text. The rest is of items that answers here do not have, and adds nothing; reasoning is never encrypted, but shown as it is.", readInclude),
		fields.Int("top_logprobs", "And of so many alternatives; needs that in `include`.", 0, answer.MaxLogprobs, func(q *responseRequest) **int { return &q.Logprobs }),
		fields.Refuse[*responseRequest]("max_tool_calls", "this server runs no tools"),
	},
	fields.In(answer.VLLM, func(q *responseRequest) *answer.Settings { return &q.Settings }),
	accepted[*responseRequest]().But("metadata"),
)

var reasoningFields = fields.Table[*responseRequest]{
	fields.Any("effort", "string", "", func(q *responseRequest, v fields.Value) error {
		s, err := readEffort(v)
		q.Variables = append(q.Variables, s...)
		return err
	}),
	fields.Refuse[*responseRequest]("summary", "reasoning is shown as it is", summaries...),
	fields.Refuse[*responseRequest]("generate_summary", "reasoning is shown as it is", summaries...),
	fields.Refuse[*responseRequest]("context", "the template decides", `"auto"`),
	fields.Refuse[*responseRequest]("mode", "there is one mode", `"standard"`),
}

// summaries are the kinds of summaries of what a model thought, which come if there are any.
var summaries = []string{`"auto"`, `"concise"`, `"detailed"`}

func readInclude(q *responseRequest, v fields.Value) error {
	list, err := v.Strings(fields.Many)
	q.logprobs = slices.Contains(list, "message.output_text.logprobs")
	return err
}

// check finds what is missing or contradicts itself.
func (q *responseRequest) check() error {
	if len(q.Messages) == 0 {
		return &fields.Error{Path: "input", Reason: "expected a text, or at least one item"}
	}
	if q.logprobs && q.Logprobs == nil {
		q.Logprobs = new(int)
	}
	if !q.logprobs && q.Logprobs != nil {
		if *q.Logprobs > 0 {
			return &fields.Error{Path: "top_logprobs", Reason: `it needs "message.output_text.logprobs" in include`}
		}
		q.Logprobs = nil
	}
	return nil
}

var responseTextFields = fields.Table[*responseRequest]{
	fields.Refuse[*responseRequest]("format", "output can't be constrained yet: leave it out and ask for the form in a message", `{"type":"text"}`),
	fields.Refuse[*responseRequest]("verbosity", "say it in the instructions", `"medium"`),
}

// flatToolFields are those of a function in the Responses API.
var flatToolFields = append(fields.Table[*answer.Tool]{
	fields.Ignore[*answer.Tool]("type", "it was read before"),
	fields.Refuse[*answer.Tool]("defer_loading", "all tools are shown to the model", "false"),
	fields.Refuse[*answer.Tool]("allowed_callers", "models call tools directly", `["direct"]`),
	fields.Ignore[*answer.Tool]("output_schema", "templates do not know it"),
}, answer.FunctionFields...)

// respond answers /v1/responses.
func (h *handler) respond(w http.ResponseWriter, r *http.Request, body []byte) error {
	q, err := fields.ReadBody(responseFields, body)
	if err != nil {
		return err
	}
	if err := q.check(); err != nil {
		return err
	}
	if q.instructions != nil {
		q.Messages = append([]answer.Said{{Role: "system", Parts: []string{*q.instructions}}}, q.Messages...)
	}
	m, turn, err := h.Turn(r.Context(), q.model, &q.Conversation, &q.Settings, q.stream, usualTemperature)
	if err != nil {
		return err
	}
	defer m.Release()
	b := responseBuilder{response: q.response(turn.Request)}
	if q.logprobs {
		b.logprobs = func(tokens []textgen.Token) []openai.TokenLogprob { return chatLogprobs(m.Model, tokens) }
	}
	if q.stream {
		b.out = reply.Events(w)
		defer b.out.Close()
	}
	usage, err := turn.Run(r.Context(), b.piece)
	switch {
	case err != nil && !q.stream:
		return err
	case err != nil:
		return h.failResponse(&b, err)
	}
	b.finish(usage, turn.Reasoning)
	if !q.stream {
		reply.JSON(w, http.StatusOK, &b.response)
	}
	return nil
}

// failResponse ends a stream with an error.
func (h *handler) failResponse(b *responseBuilder, err error) error {
	if !b.out.Began() {
		return err
	}
	if p := answer.AsProblem(err, h.Log); p.Status != answer.StatusCanceled {
		e := errorBody(p).Error
		b.send(openai.ResponseEvent{Type: "error", Code: e.Code, Message: e.Message, Param: e.Param})
	}
	return nil
}

// response is the answer before there is any output.
func (q *responseRequest) response(r *textgen.Request) openai.Response {
	a := openai.Response{
		ID: newID("resp_"), Object: "response", CreatedAt: now(), Status: "in_progress", Instructions: q.instructions, MaxOutputTokens: q.MaxTokens,
		Metadata: q.metadata, Model: q.model, Output: []openai.OutputItem{}, ParallelToolCalls: !q.OneCall, Temperature: r.Temperature, TopP: r.TopP,
		Text: openai.ResponseText{Format: openai.ResponseFormat{Type: "text"}}, ToolChoice: "auto", Tools: q.tools, Truncation: "disabled",
	}
	if q.metadata == nil {
		a.Metadata = struct{}{}
	}
	if q.tools == nil {
		a.Tools = []string{}
	}
	if q.NoTools {
		a.ToolChoice = "none"
	}
	if q.Logprobs != nil {
		a.TopLogprobs = *q.Logprobs
	}
	if a.TopP == 0 {
		a.TopP = 1 // all are considered
	}
	return a
}
