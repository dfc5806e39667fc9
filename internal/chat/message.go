package chat

import (
	"encoding/json"
	"fmt"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// Conversation is what a prompt is made of.
type Conversation struct {
	Messages []Message
	Tools    []Tool
	// AddGenerationPrompt ends the prompt with what begins an assistant's message.
	AddGenerationPrompt bool
	// ContinueFinalMessage ends the prompt with the last message's text, to be
	// continued; then no generation prompt is added.
	ContinueFinalMessage bool
	// Variables are more variables of the template (chat_template_kwargs), such as
	// enable_thinking. nil is none.
	Variables *jinja.Map
}

// Message is a message in OpenAI's form.
type Message struct {
	Role    string
	Content string
	Parts   []string // texts in the place of Content, if there are any
	// NoContent says that the content is null, as beside tool calls.
	NoContent  bool
	Reasoning  string // reasoning_content
	Name       string
	ToolCallID string // of the call that a tool's message answers
	ToolCalls  []ToolCall
	// Extra are further fields, which the template gets as they are. nil is none.
	Extra *jinja.Map
}

// ToolCall is a call that an assistant made earlier. Arguments is JSON.
type ToolCall struct{ ID, Name, Arguments string }

// Tool is a function that the model may call. Parameters is its JSON schema, in
// the order in which it came; nil is none.
type Tool struct {
	Name, Description string
	Parameters        any
	source            *jinja.Map // the whole tool, if it came as JSON
}

// DecodeTools reads the field tools of a request.
func DecodeTools(raw json.RawMessage) ([]Tool, error) {
	list, err := decodeList("tools", raw)
	if err != nil {
		return nil, err
	}
	tools := make([]Tool, len(list))
	for i, v := range list {
		path := fmt.Sprintf("tools[%d]", i)
		m, _ := v.(*jinja.Map)
		if m == nil {
			return nil, fmt.Errorf("%s: expected an object", path)
		}
		fn, err := functionOf(path, m)
		if err != nil {
			return nil, err
		}
		t := Tool{source: m}
		if t.Name, err = text(path+".function.name", fn, "name"); err != nil || t.Name == "" {
			return nil, fmt.Errorf("%s.function.name: expected the function's name", path)
		}
		if t.Description, err = text(path+".function.description", fn, "description"); err != nil {
			return nil, err
		}
		t.Parameters, _ = fn.Get("parameters")
		tools[i] = t
	}
	return tools, nil
}

func decodeList(path string, raw json.RawMessage) (jinja.List, error) {
	v, err := jinja.DecodeJSON(string(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	list, ok := v.(jinja.List)
	if !ok {
		return nil, fmt.Errorf("%s: expected an array", path)
	}
	return list, nil
}

// functionOf gives the function of a tool or a call, whose type must say that it is one.
func functionOf(path string, m *jinja.Map) (*jinja.Map, error) {
	if kind, ok := m.Get("type"); ok && kind != any("function") {
		return nil, fmt.Errorf("%s.type: expected function, the only kind that is supported", path)
	}
	v, _ := m.Get("function")
	fn, ok := v.(*jinja.Map)
	if !ok {
		return nil, fmt.Errorf("%s.function: expected an object", path)
	}
	return fn, nil
}

// text reads a field that is a string, null or absent.
func text(path string, m *jinja.Map, name string) (string, error) {
	v, _ := m.Get(name)
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", fmt.Errorf("%s: expected a string", path)
}
