package ollama

import (
	"fmt"

	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
)

// request is what chat and generate have in common.
type request struct {
	model string
	answer.Conversation
	answer.Settings
	whole  bool // not in pieces
	window *int // of penalties, in tokens
}

// checkWindow refuses a window of penalties where there is something for it to bound.
func (q *request) checkWindow() error {
	differs := func(v *float32, neutral float32) bool { return v != nil && *v != neutral }
	if q.window != nil && *q.window != -1 && (differs(q.Repetition, 1) || differs(q.Presence, 0) || differs(q.Frequency, 0)) {
		return &fields.Error{Path: "options.repeat_last_n", Reason: fmt.Sprintf("penalties are over all tokens: with one, expected -1, found %d", *q.window)}
	}
	return nil
}

var optionFields = fields.Table[*request]{
	set(fields.Float("temperature", "0 is greedy. Default: as the model suggests, or 0.8.", 0, 2, func(s *answer.Settings) **float32 { return &s.Temperature })),
	set(fields.Int("top_k", "", -1, fields.Many, func(s *answer.Settings) **int { return &s.TopK })),
	set(fields.Float("top_p", "", 0, 1, func(s *answer.Settings) **float32 { return &s.TopP })),
	set(fields.Float("min_p", "", 0, 1, func(s *answer.Settings) **float32 { return &s.MinP })),
	set(fields.Float("typical_p", "", 0, 1, func(s *answer.Settings) **float32 { return &s.TypicalP })),
	set(fields.Float("repeat_penalty", "Over prompt and answer, all of them.", 0.01, 100, func(s *answer.Settings) **float32 { return &s.Repetition })),
	set(fields.Float("presence_penalty", "", -2, 2, func(s *answer.Settings) **float32 { return &s.Presence })),
	set(fields.Float("frequency_penalty", "", -2, 2, func(s *answer.Settings) **float32 { return &s.Frequency })),
	set(answer.Seed("seed", "")),
	set(answer.Stop("stop", "")),
	fields.Any("num_predict", "integer of at least 1, or -1 or -2", "Tokens of the answer, at most; -1 and -2 are as many as the context has room for.", func(q *request, v fields.Value) error {
		n, err := v.Int(-2, fields.Many)
		if err == nil && n == 0 {
			err = v.Errorf("expected at least 1, or -1 or -2, found 0")
		}
		if n > 0 {
			most := int(n)
			q.MaxTokens = &most
		}
		return err
	}),
	fields.Ignore[*request]("num_ctx", "a conversation gets the model's whole context, and is an error if it is longer"),
	fields.Ignore[*request]("num_batch", "the engine decides"),
	fields.Ignore[*request]("num_gpu", "there is none"),
	fields.Ignore[*request]("main_gpu", "there is none"),
	fields.Ignore[*request]("num_thread", "the engine decides"),
	fields.Ignore[*request]("use_mmap", "the engine decides"),
	fields.Ignore[*request]("use_mlock", "the engine decides"),
	fields.Ignore[*request]("low_vram", "the engine decides"),
	fields.Ignore[*request]("f16_kv", "the engine decides"),
	fields.Ignore[*request]("numa", "the engine decides"),
	fields.Int("repeat_last_n", "Penalties are over all tokens: with one it is an error, but for -1.", -1, fields.Many, func(q *request) **int { return &q.window }),
	fields.Ignore[*request]("num_keep", "a conversation is never cut"),
	fields.Refuse[*request]("mirostat", "use top_p or min_p", "0"),
	fields.Ignore[*request]("mirostat_tau", "it is mirostat's"),
	fields.Ignore[*request]("mirostat_eta", "it is mirostat's"),
	fields.Refuse[*request]("tfs_z", "use top_p or min_p", "1", "1.0"),
	fields.Refuse[*request]("penalize_newline", "all tokens are equal", "true"),
}

func set(f *fields.Field[*answer.Settings]) *fields.Field[*request] {
	return fields.In(fields.Table[*answer.Settings]{f}, func(q *request) *answer.Settings { return &q.Settings })[0]
}

var commonFields = fields.Table[*request]{
	fields.Text("model", "Its name, or `NAME:VERSION`; `NAME:latest` is the default version.", answer.MaxName, func(q *request) *string { return &q.model }),
	fields.Object("options", "See below.", optionFields, func(q *request) *request { return q }),
	fields.Any("stream", "boolean", "false answers with all at once. Default: true.", func(q *request, v fields.Value) error {
		stream, err := v.Bool()
		q.whole = !stream
		return err
	}),
	fields.Any("think", "boolean, or low, medium, high", "Sets `enable_thinking` (and `reasoning_effort`) of the model's template.", readThink),
	fields.Ignore[*request]("keep_alive", "models stay loaded"),
	fields.Refuse[*request]("format", "output can't be constrained yet: leave it out and ask for the form in a message", `""`),
	fields.Refuse[*request]("logprobs", "use /v1/chat/completions", "false"),
	fields.Refuse[*request]("top_logprobs", "use /v1/chat/completions", "0"),
}

func readThink(q *request, v fields.Value) error {
	if v.Kind() == "string" {
		s, err := v.Text()
		if err == nil && s != "low" && s != "medium" && s != "high" {
			err = v.Errorf("expected true, false, low, medium or high, found %q", s)
		}
		q.Variables = append(q.Variables, answer.Variable("reasoning_effort", s), answer.Variable("enable_thinking", true))
		return err
	}
	think, err := v.Bool()
	q.Variables = append(q.Variables, answer.Variable("enable_thinking", think))
	return err
}

// chatRequest is a request of /api/chat.
type chatRequest struct{ request }

var chatFields = append(fields.Table[*chatRequest]{
	fields.Any("messages", "array", "`role`, `content`, `thinking`, `tool_calls`, `tool_name`. None: the model is loaded.", func(q *chatRequest, v fields.Value) (err error) {
		q.Messages, err = readMessages(v)
		return err
	}),
	fields.Any("tools", "array of at most 128", "Functions that the model may call.", func(q *chatRequest, v fields.Value) (err error) {
		q.Tools, err = answer.ReadTools(v, toolFields, "function", "")
		return err
	}),
}, fields.In(commonFields, func(q *chatRequest) *request { return &q.request })...)

func readChat(body []byte) (*chatRequest, error) {
	return fields.ReadBody(chatFields, body)
}

// generateRequest is a request of /api/generate.
type generateRequest struct {
	request
	prompt, system string
	raw            bool
}

var generateFields = append(fields.Table[*generateRequest]{
	fields.Text("prompt", "A user's message; with `raw`, a text to continue. None: the model is loaded.", fields.Many, func(q *generateRequest) *string { return &q.prompt }),
	fields.Text("system", "A system message before it.", fields.Many, func(q *generateRequest) *string { return &q.system }),
	fields.Bool("raw", "Continues the prompt as it is, without a template.", func(q *generateRequest) *bool { return &q.raw }),
	fields.Refuse[*generateRequest]("suffix", "models here do not fill gaps", `""`),
	fields.Refuse[*generateRequest]("images", "models here read text only", "[]"),
	fields.Refuse[*generateRequest]("template", "templates come with the model", `""`),
	fields.Refuse[*generateRequest]("context", "use /api/chat", "[]"),
}, fields.In(commonFields, func(q *generateRequest) *request { return &q.request })...)

func readGenerate(body []byte) (*generateRequest, error) {
	q, err := fields.ReadBody(generateFields, body)
	if err != nil {
		return nil, err
	}
	if q.raw && q.system != "" {
		return nil, &fields.Error{Path: "system", Reason: "a raw prompt has no system message"}
	}
	if q.system != "" {
		q.Messages = append(q.Messages, answer.Said{Role: "system", Parts: []string{q.system}})
	}
	q.Messages = append(q.Messages, answer.Said{Role: "user", Parts: []string{q.prompt}})
	return q, nil
}

var messageFields = fields.Table[*answer.Said]{
	fields.OneOf("role", "", func(m *answer.Said) *string { return &m.Role }, "system", "user", "assistant", "tool"),
	fields.Any("content", "", "", func(m *answer.Said, v fields.Value) error {
		s, err := v.Text()
		m.Parts = []string{s}
		return err
	}),
	fields.Text("thinking", "", fields.Many, func(m *answer.Said) *string { return &m.Reasoning }),
	fields.Any("tool_calls", "", "", readCalls),
	fields.Text("tool_name", "", answer.MaxName, func(m *answer.Said) *string { return &m.Name }),
	fields.Text("name", "", answer.MaxName, func(m *answer.Said) *string { return &m.Name }),
	fields.Text("tool_call_id", "", answer.MaxName, func(m *answer.Said) *string { return &m.CallID }),
	fields.Refuse[*answer.Said]("images", "models here read text only", "[]"),
}

func readMessages(v fields.Value) ([]answer.Said, error) {
	list, err := v.Array(answer.MaxMessages)
	if err != nil {
		return nil, err
	}
	var out []answer.Said
	for _, e := range list {
		var m answer.Said
		if err := messageFields.Read(e, &m); err != nil {
			return nil, err
		}
		if m.Role == "" {
			return nil, e.Errorf("expected a role")
		}
		out = append(out, m)
	}
	return out, nil
}

var functionFields = fields.Table[*answer.Call]{
	fields.Text("name", "", answer.MaxName, func(c *answer.Call) *string { return &c.Name }),
	fields.Any("arguments", "", "", func(c *answer.Call, v fields.Value) error {
		c.Arguments = string(v.Raw)
		_, err := v.Object()
		return err
	}),
	fields.Ignore[*answer.Call]("index", "of a streamed piece"),
}

var callFields = fields.Table[*answer.Call]{
	fields.Text("id", "", answer.MaxName, func(c *answer.Call) *string { return &c.ID }),
	fields.Ignore[*answer.Call]("type", "all are functions"),
	fields.Object("function", "", functionFields, func(c *answer.Call) *answer.Call { return c }),
}

func readCalls(m *answer.Said, v fields.Value) error {
	list, err := v.Array(answer.MaxCalls)
	if err != nil {
		return err
	}
	for _, e := range list {
		c := answer.Call{Arguments: "{}"}
		if err := callFields.Read(e, &c); err != nil {
			return err
		}
		if c.Name == "" {
			return e.Errorf("expected the function's name")
		}
		m.Calls = append(m.Calls, c)
	}
	return nil
}

var toolFields = fields.Table[*answer.Tool]{
	fields.Ignore[*answer.Tool]("type", "all are functions"),
	fields.Object("function", "", answer.FunctionFields, func(t *answer.Tool) *answer.Tool { return t }),
}
