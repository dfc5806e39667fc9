package openaiapi

import (
	"encoding/json"

	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
)

// messageFields are those of a message of a chat.
var messageFields = fields.Table[*answer.Said]{
	fields.OneOf("role", "Who speaks; developer is the same as system.", func(m *answer.Said) *string { return &m.Role }, "system", "developer", "user", "assistant", "tool"),
	fields.Any("content", "string, or array of parts `{\"type\":\"text\",\"text\":…}`", "What is said. Images, audio and files are errors.", readContent),
	fields.Text("name", "Who speaks, for templates that show it.", answer.MaxName, func(m *answer.Said) *string { return &m.Name }),
	fields.Any("tool_calls", "array", "An assistant's calls of functions: `id`, `type`, `function` with `name` and `arguments`.", readCalls),
	fields.Text("tool_call_id", "Which call a tool's message answers.", answer.MaxName, func(m *answer.Said) *string { return &m.CallID }),
	fields.Extend(fields.Text("reasoning_content", "What an assistant thought; the template decides whether the model sees it again.", fields.Many, func(m *answer.Said) *string { return &m.Reasoning })),
	fields.Extend(fields.Text("reasoning", "The same, by its other name.", fields.Many, func(m *answer.Said) *string { return &m.Reasoning })),
	fields.Refuse[*answer.Said]("refusal", "this server's models have no refusals apart from content"),
	fields.Refuse[*answer.Said]("audio", "models here read text"),
	fields.Refuse[*answer.Said]("function_call", "use tool_calls"),
	fields.Refuse[*answer.Said]("annotations", "answers have none", "[]"),
}

// partFields are those of a part of a message's content.
var partFields = fields.Table[*string]{
	fields.Ignore[*string]("type", "it was read before"),
	fields.Text("text", "", fields.Many, func(s *string) *string { return s }),
	fields.Ignore[*string]("cache_control", "prefixes are found by their content"),
	fields.Ignore[*string]("prompt_cache_breakpoint", "prefixes are found by their content"),
}

func readContent(m *answer.Said, v fields.Value) (err error) {
	m.Parts, err = answer.ReadTexts(v, partFields, "text")
	return err
}

var functionFields = fields.Table[*answer.Call]{
	fields.Text("name", "", answer.MaxName, func(c *answer.Call) *string { return &c.Name }),
	fields.Any("arguments", "string of JSON, or its object", "", func(c *answer.Call, v fields.Value) (err error) {
		if v.Kind() == "object" { // as transformers has it
			c.Arguments = string(v.Raw)
			return nil
		}
		c.Arguments, err = readArguments(v)
		return err
	}),
}

// readArguments reads the arguments of a call, a JSON object in a string. Those of a function
// that has none may be empty.
func readArguments(v fields.Value) (string, error) {
	s, err := v.Text()
	switch {
	case err != nil:
		return "", err
	case s == "":
		return "{}", nil
	case !isObject(s):
		return "", v.Errorf("expected a JSON object as a string")
	}
	return s, nil
}

func isObject(s string) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal([]byte(s), &o) == nil && o != nil
}

var callFields = fields.Table[*answer.Call]{
	fields.Ignore[*answer.Call]("type", "it was read before"),
	fields.Text("id", "", answer.MaxName, func(c *answer.Call) *string { return &c.ID }),
	fields.Object("function", "", functionFields, func(c *answer.Call) *answer.Call { return c }),
	fields.Ignore[*answer.Call]("index", "of a streamed piece"),
}

func readCalls(m *answer.Said, v fields.Value) error {
	list, err := v.Array(answer.MaxCalls)
	if err != nil {
		return err
	}
	for _, e := range list {
		var c answer.Call
		if err := e.OfType("function"); err != nil {
			return err
		}
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

// readMessages reads a chat.
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
		switch {
		case m.Role == "":
			return nil, e.Errorf("expected a role")
		case m.Parts == nil && m.Calls == nil && m.Reasoning == "":
			return nil, e.Errorf("expected content")
		case m.Calls != nil && m.Role != "assistant":
			return nil, e.Errorf("tool_calls: only an assistant calls tools, found the role %s", m.Role)
		case m.Role == "developer":
			m.Role = "system"
		}
		out = append(out, m)
	}
	return out, nil
}

var toolFields = fields.Table[*answer.Tool]{
	fields.Ignore[*answer.Tool]("type", "it was read before"),
	fields.Object("function", "", answer.FunctionFields, func(t *answer.Tool) *answer.Tool { return t }),
}

// readTools reads a chat's functions.
func readTools(v fields.Value) ([]answer.Tool, error) {
	list, err := answer.ReadTools(v, toolFields, "function")
	if err != nil {
		return nil, err
	}
	raws, err := v.Array(answer.MaxTools)
	for i := range list {
		list[i].Raw = raws[i].Raw
	}
	return list, err
}

// readToolChoice reports whether the model may call tools.
func readToolChoice(v fields.Value) (none bool, err error) {
	if v.Kind() == "string" {
		switch s, err := v.Text(); {
		case err != nil:
			return false, err
		case s == "none", s == "auto":
			return s == "none", nil
		}
	}
	return false, v.Errorf("expected none or auto, found %s: a call can't be forced yet, ask for it in a message", v.Raw)
}
