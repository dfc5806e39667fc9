package chat

import (
	"encoding/json"
	"fmt"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// decodeMessages reads messages as a request has them, by which test cases say theirs.
func decodeMessages(raw json.RawMessage) ([]Message, error) {
	list, err := decodeList("messages", raw)
	if err != nil {
		return nil, err
	}
	messages := make([]Message, len(list))
	for i, v := range list {
		path := fmt.Sprintf("messages[%d]", i)
		m, ok := v.(*jinja.Map)
		if !ok {
			return nil, fmt.Errorf("%s: expected an object", path)
		}
		if messages[i], err = decodeMessage(path, m); err != nil {
			return nil, err
		}
	}
	return messages, nil
}

func decodeMessage(path string, m *jinja.Map) (Message, error) {
	var msg Message
	var err error
	for name, v := range m.All {
		at := path + "." + name
		switch name {
		case "role":
			msg.Role, err = text(at, m, name)
		case "content":
			err = msg.content(at, v)
		case "reasoning_content", "reasoning":
			msg.Reasoning, err = text(at, m, name)
		case "name":
			msg.Name, err = text(at, m, name)
		case "tool_call_id":
			msg.ToolCallID, err = text(at, m, name)
		case "tool_calls":
			msg.ToolCalls, err = decodeCalls(at, v)
		default:
			if msg.Extra == nil {
				msg.Extra = jinja.NewMap()
			}
			msg.Extra.Set(name, v)
		}
		if err != nil {
			return msg, err
		}
	}
	if msg.Role == "" {
		return msg, fmt.Errorf("%s.role: expected a role, such as user", path)
	}
	if v, _ := m.Get("content"); v == nil {
		msg.NoContent = true
	}
	return msg, nil
}

// content reads a string, null, or an array of parts that are texts.
func (m *Message) content(path string, v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		m.Content = v
		return nil
	case jinja.List:
		m.Parts = []string{}
		for i, e := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			part, ok := e.(*jinja.Map)
			if !ok {
				return fmt.Errorf("%s: expected an object", at)
			}
			if kind, _ := part.Get("type"); kind != any("text") {
				return fmt.Errorf("%s.type: expected text, the only kind of content that is supported", at)
			}
			s, ok := part.Get("text")
			t, isText := s.(string)
			if !ok || !isText {
				return fmt.Errorf("%s.text: expected a string", at)
			}
			m.Parts = append(m.Parts, t)
		}
		return nil
	}
	return fmt.Errorf("%s: expected a string or an array of parts", path)
}

func decodeCalls(path string, v any) ([]ToolCall, error) {
	if v == nil {
		return nil, nil
	}
	list, ok := v.(jinja.List)
	if !ok {
		return nil, fmt.Errorf("%s: expected an array", path)
	}
	calls := make([]ToolCall, len(list))
	for i, e := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		m, ok := e.(*jinja.Map)
		if !ok {
			return nil, fmt.Errorf("%s: expected an object", at)
		}
		fn, err := functionOf(at, m)
		if err != nil {
			return nil, err
		}
		c := &calls[i]
		if c.ID, err = text(at+".id", m, "id"); err != nil {
			return nil, err
		}
		if c.Name, err = text(at+".function.name", fn, "name"); err != nil {
			return nil, err
		}
		switch a, _ := fn.Get("arguments"); a := a.(type) {
		case nil:
		case string:
			c.Arguments = a
		default: // transformers' own form: an object
			if c.Arguments, err = jinja.ToJSON(a); err != nil {
				return nil, fmt.Errorf("%s.function.arguments: %w", at, err)
			}
		}
	}
	return calls, nil
}
