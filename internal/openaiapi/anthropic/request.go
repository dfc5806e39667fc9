package anthropic

import (
	"slices"

	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
)

// request is a request for a message, or to count its tokens.
type request struct {
	model string
	answer.Conversation
	answer.Settings
	system []string
	effort string
	stream bool
}

// promptFields are those that make the prompt.
var promptFields = fields.Table[*request]{
	fields.Text("model", "Its name, or `NAME:VERSION`.", answer.MaxName, func(q *request) *string { return &q.model }),
	fields.Any("messages", "array of 1 to 4096", "`role` (user, assistant) and `content`: a string, or blocks of the types text, thinking, tool_use and tool_result.", func(q *request, v fields.Value) (err error) {
		q.Messages, err = readMessages(v)
		return err
	}),
	fields.Any("system", "string, or array of text blocks", "What the model is told before.", func(q *request, v fields.Value) (err error) {
		q.system, err = answer.ReadTexts(v, textFields, "text")
		return err
	}),
	fields.Any("tools", "array of at most 128: `name`, `description`, `input_schema`", "Functions that the model may call. Tools that a server would run are errors.", func(q *request, v fields.Value) (err error) {
		q.Tools, err = answer.ReadTools(v, toolFields, "custom", "")
		return err
	}),
	fields.Any("tool_choice", "`{\"type\":…}`: auto, none", "none hides the tools from the model. With `disable_parallel_tool_use` an answer has its first call alone. A call can't be forced yet.", readToolChoice),
	fields.Any("thinking", "`{\"type\":…}`: disabled, enabled, adaptive", "Sets `enable_thinking` of the model's template. `budget_tokens` may come: thinking is bounded by `max_tokens` alone.", readThinking),
	fields.Ignore[*request]("cache_control", "prefixes are found by their content"),
	fields.Refuse[*request]("mcp_servers", "this server runs no tools", "[]"),
	fields.Refuse[*request]("container", "this server runs no tools"),
	fields.Ignore[*request]("context_management", "a conversation is never cut: one that is too long is an error"),
	fields.Any("output_config", "object: effort, format", "`effort` is given to the model's template as `reasoning_effort`; a `format` is an error, since output can't be constrained yet.", func(q *request, v fields.Value) error { return outputFields.Read(v, q) }),
	fields.Refuse[*request]("output_format", "output can't be constrained yet: leave it out and ask for the form in a message"),
}

// messageFields are those of a request for a message.
var messageFields = append(slices.Clone(promptFields),
	fields.Int("max_tokens", "Tokens of the answer, at most. It has to be there.", 1, fields.Many, func(q *request) **int { return &q.MaxTokens }),
	fields.Bool("stream", "Sends the answer as events while it is made.", func(q *request) *bool { return &q.stream }),
	fields.Float("temperature", "How far less likely tokens are considered; 0 is greedy. Default: as the model suggests, or 1.", 0, 1, func(q *request) **float32 { return &q.Temperature }),
	fields.Float("top_p", "Considers the likeliest tokens that together have this probability.", 0, 1, func(q *request) **float32 { return &q.TopP }),
	fields.Int("top_k", "Considers so many of the likeliest tokens.", 0, fields.Many, func(q *request) **int { return &q.TopK }),
	settings(answer.Stop("stop_sequences", "Strings that end the answer; they are not part of it.")),
	fields.Ignore[*request]("metadata", "nothing is stored"),
	fields.Ignore[*request]("service_tier", "there is one tier"),
	fields.Ignore[*request]("inference_geo", "there is one place"),
	fields.Ignore[*request]("user_profile_id", "nothing is stored"),
	fields.Ignore[*request]("workspace_id", "nothing is stored"),
	fields.Refuse[*request]("speed", "there is one speed", `"standard"`),
	fields.Refuse[*request]("diagnostics", "there are none"),
)

func settings(f *fields.Field[*answer.Settings]) *fields.Field[*request] {
	return fields.In(fields.Table[*answer.Settings]{f}, func(q *request) *answer.Settings { return &q.Settings })[0]
}

func read(body []byte, whole bool) (*request, error) {
	table := promptFields
	if whole {
		table = messageFields
	}
	q, err := fields.ReadBody(table, body)
	if err != nil {
		return nil, err
	}
	switch {
	case len(q.Messages) == 0:
		return nil, &fields.Error{Path: "messages", Reason: "expected at least one message"}
	case whole && q.MaxTokens == nil:
		return nil, &fields.Error{Path: "max_tokens", Reason: "expected an integer of at least 1, found none"}
	}
	if q.system != nil {
		q.Messages = append([]answer.Said{{Role: "system", Parts: q.system}}, q.Messages...)
	}
	if q.effort != "" {
		q.Variables = append(q.Variables, answer.Variable("reasoning_effort", q.effort))
	}
	last := &q.Messages[len(q.Messages)-1]
	q.Continue = last.Role == "assistant" // the answer goes on with it
	q.NoPrompt = q.Continue
	return q, nil
}

// typed is an object that has only a type that counts.
type typed struct {
	kind   string
	budget *int // a target and no bound
}

func readToolChoice(q *request, v fields.Value) error {
	kind, err := v.Type("")
	if err != nil {
		return err
	}
	if kind != "auto" && kind != "none" {
		return v.Errorf("expected the type auto or none, found %q: a call can't be forced yet, ask for it in a message", kind)
	}
	q.NoTools = kind == "none"
	return fields.Table[*answer.Conversation]{
		fields.Ignore[*answer.Conversation]("type", "it was read before"),
		answer.OneCall("disable_parallel_tool_use", true),
	}.Read(v, &q.Conversation)
}

var outputFields = fields.Table[*request]{
	fields.OneOf("effort", "", func(q *request) *string { return &q.effort }, "low", "medium", "high", "xhigh", "max"),
	fields.Refuse[*request]("format", "output can't be constrained yet: leave it out and ask for the form in a message"),
}

func readThinking(q *request, v fields.Value) error {
	var t typed
	err := fields.Table[*typed]{
		fields.OneOf("type", "", func(t *typed) *string { return &t.kind }, "disabled", "enabled", "adaptive"),
		fields.Int("budget_tokens", "", 1, fields.Many, func(t *typed) **int { return &t.budget }),
		fields.Ignore[*typed]("display", "thinking is shown as it is"),
	}.Read(v, &t)
	q.Variables = append(q.Variables, answer.Variable("enable_thinking", t.kind != "disabled"))
	return err
}

var toolFields = fields.Table[*answer.Tool]{
	fields.Ignore[*answer.Tool]("type", "it was read before"),
	fields.Text("name", "", answer.MaxName, func(t *answer.Tool) *string { return &t.Name }),
	fields.Text("description", "", fields.Many, func(t *answer.Tool) *string { return &t.Description }),
	fields.Any("input_schema", "", "", func(t *answer.Tool, v fields.Value) error {
		t.Parameters = v.Raw
		_, err := v.Object()
		return err
	}),
	fields.Ignore[*answer.Tool]("cache_control", "prefixes are found by their content"),
	answer.Strict,
	fields.Ignore[*answer.Tool]("eager_input_streaming", "calls come whole"),
	fields.Refuse[*answer.Tool]("defer_loading", "all tools are shown to the model", "false"),
	fields.Refuse[*answer.Tool]("allowed_callers", "models call tools directly", `["direct"]`),
	fields.Refuse[*answer.Tool]("input_examples", "say them in the description", "[]"),
}

// message is a message as it comes.
type message struct {
	role    string
	content fields.Value
}

var rawMessageFields = fields.Table[*message]{
	fields.OneOf("role", "", func(m *message) *string { return &m.role }, "user", "assistant"),
	fields.Any("content", "", "", func(m *message, v fields.Value) error {
		m.content = v
		return nil
	}),
}

// readMessages reads a conversation. The results of tools, which come in a
// user's message, become messages of their own.
func readMessages(v fields.Value) ([]answer.Said, error) {
	list, err := v.Array(answer.MaxMessages)
	if err != nil {
		return nil, err
	}
	var out []answer.Said
	for _, e := range list {
		var m message
		if err := rawMessageFields.Read(e, &m); err != nil {
			return nil, err
		}
		if m.role == "" || m.content.IsNull() {
			return nil, e.Errorf("expected a role and content")
		}
		said, err := readContent(&m)
		if err != nil {
			return nil, err
		}
		out = append(out, said...)
	}
	return out, nil
}

func readContent(m *message) ([]answer.Said, error) {
	if m.content.Kind() == "string" {
		s, err := m.content.Text()
		return []answer.Said{{Role: m.role, Parts: []string{s}}}, err
	}
	list, err := m.content.Array(answer.MaxParts)
	if err != nil {
		return nil, err
	}
	var out []answer.Said
	for _, e := range list {
		kind, err := e.Type("")
		if err != nil {
			return nil, err
		}
		b := answer.Said{Role: m.role}
		table, ok := blockFields[kind]
		if !ok || blockRoles[kind] != "" && blockRoles[kind] != m.role {
			return nil, e.Errorf("expected a block that a message of the role %s can have, found the type %q", m.role, kind)
		}
		if err := table.Read(e, &b); err != nil {
			return nil, err
		}
		if kind == "tool_result" {
			b.Role = "tool"
		}
		out = join(out, b)
	}
	if out == nil {
		return nil, m.content.Errorf("expected at least one block")
	}
	return out, nil
}

// join appends a block, to the message before it where both are one's.
func join(list []answer.Said, b answer.Said) []answer.Said {
	if n := len(list); n > 0 && list[n-1].Role == b.Role && b.Role != "tool" {
		last := &list[n-1]
		last.Parts = append(last.Parts, b.Parts...)
		last.Reasoning += b.Reasoning
		last.Calls = append(last.Calls, b.Calls...)
		return list
	}
	return append(list, b)
}

var textFields = fields.Table[*string]{
	fields.Ignore[*string]("type", "it was read before"),
	fields.Text("text", "", fields.Many, func(s *string) *string { return s }),
	fields.Ignore[*string]("cache_control", "prefixes are found by their content"),
	fields.Refuse[*string]("citations", "models here read text only", "[]"),
}

// blockRoles says whose messages have a block; any if it is not there.
var blockRoles = map[string]string{"thinking": "assistant", "tool_use": "assistant", "tool_result": "user"}

var blockFields = map[string]fields.Table[*answer.Said]{
	"text": fields.In(textFields, func(m *answer.Said) *string {
		m.Parts = []string{""}
		return &m.Parts[0]
	}),
	"thinking": {
		fields.Ignore[*answer.Said]("type", "it was read before"),
		fields.Text("thinking", "", fields.Many, func(m *answer.Said) *string { return &m.Reasoning }),
		fields.Ignore[*answer.Said]("signature", "nothing is signed here"),
	},
	"tool_use": {
		fields.Ignore[*answer.Said]("type", "it was read before"),
		call("id", func(c *answer.Call) *string { return &c.ID }),
		call("name", func(c *answer.Call) *string { return &c.Name }),
		fields.Any("input", "", "", func(m *answer.Said, v fields.Value) error {
			onlyCall(m).Arguments = string(v.Raw)
			_, err := v.Object()
			return err
		}),
		fields.Ignore[*answer.Said]("cache_control", "prefixes are found by their content"),
		fields.Ignore[*answer.Said]("caller", "there is one"),
	},
	"tool_result": {
		fields.Ignore[*answer.Said]("type", "it was read before"),
		fields.Text("tool_use_id", "", answer.MaxName, func(m *answer.Said) *string { return &m.CallID }),
		fields.Any("content", "", "", func(m *answer.Said, v fields.Value) (err error) {
			m.Parts, err = answer.ReadTexts(v, textFields, "text")
			return err
		}),
		fields.Ignore[*answer.Said]("is_error", "templates do not know it; the content says so"),
		fields.Ignore[*answer.Said]("cache_control", "prefixes are found by their content"),
	},
}

func call(name string, at func(*answer.Call) *string) *fields.Field[*answer.Said] {
	return fields.Text(name, "", answer.MaxName, func(m *answer.Said) *string { return at(onlyCall(m)) })
}

// onlyCall is the one call of a block.
func onlyCall(m *answer.Said) *answer.Call {
	if m.Calls == nil {
		m.Calls = []answer.Call{{Arguments: "{}"}}
	}
	return &m.Calls[0]
}
