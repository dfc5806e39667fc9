package openaiapi

import (
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
)

// readItems reads the input of the Responses API. Reasoning and calls belong to
// the assistant's message that they are a part of.
func readItems(v fields.Value) ([]answer.Said, error) {
	if v.Kind() == "string" {
		s, err := v.Text()
		return []answer.Said{{Role: "user", Parts: []string{s}}}, err
	}
	list, err := v.Array(answer.MaxMessages)
	if err != nil {
		return nil, err
	}
	var out []answer.Said
	for _, e := range list {
		kind, err := e.Type("message")
		if err != nil {
			return nil, err
		}
		table, ok := itemFields[kind]
		if !ok {
			return nil, e.Errorf("expected an item of the type message, function_call, function_call_output or reasoning, found %q", kind)
		}
		m := answer.Said{Role: itemRoles[kind]}
		if err := table.Read(e, &m); err != nil {
			return nil, err
		}
		if kind == "message" && (m.Role == "" || m.Parts == nil) {
			return nil, e.Errorf("expected a role and content")
		}
		if m.Role == "developer" {
			m.Role = "system"
		}
		out = join(out, m)
	}
	return out, nil
}

// join appends a message, or what belongs to the last one to it: first the
// reasoning, then the text, then the calls.
func join(list []answer.Said, m answer.Said) []answer.Said {
	if len(list) > 0 && m.Role == "assistant" {
		last := &list[len(list)-1]
		if last.Role == "assistant" && m.Reasoning == "" && (m.Parts == nil || last.Parts == nil && last.Calls == nil) {
			if m.Parts != nil {
				last.Parts = m.Parts
			}
			last.Calls = append(last.Calls, m.Calls...)
			return list
		}
	}
	return append(list, m)
}

var itemRoles = map[string]string{"function_call": "assistant", "reasoning": "assistant", "function_call_output": "tool"}

// ofItem are members that every item has and that mean nothing here.
var ofItem = fields.Table[*answer.Said]{
	fields.Ignore[*answer.Said]("type", "it was read before"),
	fields.Ignore[*answer.Said]("id", "nothing is stored"),
	fields.Ignore[*answer.Said]("status", "all is complete"),
}

var itemFields = map[string]fields.Table[*answer.Said]{
	"message": append(fields.Table[*answer.Said]{
		fields.OneOf("role", "", func(m *answer.Said) *string { return &m.Role }, "user", "assistant", "system", "developer"),
		fields.Any("content", "", "", func(m *answer.Said, v fields.Value) (err error) {
			m.Parts, err = answer.ReadTexts(v, textPartFields, "input_text", "output_text", "text")
			return err
		}),
		fields.Ignore[*answer.Said]("phase", "templates do not know it"),
	}, ofItem...),
	"function_call": append(fields.Table[*answer.Said]{
		fields.Any("name", "", "", func(m *answer.Said, v fields.Value) (err error) {
			onlyCall(m).Name, err = v.Text()
			return err
		}),
		fields.Any("arguments", "", "", func(m *answer.Said, v fields.Value) (err error) {
			onlyCall(m).Arguments, err = readArguments(v)
			return err
		}),
		fields.Any("call_id", "", "", func(m *answer.Said, v fields.Value) (err error) {
			onlyCall(m).ID, err = v.Text()
			return err
		}),
	}, ofItem...),
	"function_call_output": append(fields.Table[*answer.Said]{
		fields.Text("call_id", "", answer.MaxName, func(m *answer.Said) *string { return &m.CallID }),
		fields.Any("output", "", "", func(m *answer.Said, v fields.Value) (err error) {
			m.Parts, err = answer.ReadTexts(v, textPartFields, "input_text")
			return err
		}),
		fields.Text("name", "", answer.MaxName, func(m *answer.Said) *string { return &m.Name }),
	}, ofItem...),
	"reasoning": append(fields.Table[*answer.Said]{
		fields.Any("content", "", "", func(m *answer.Said, v fields.Value) error {
			parts, err := answer.ReadTexts(v, textPartFields, "reasoning_text")
			for _, p := range parts {
				m.Reasoning += p
			}
			return err
		}),
		fields.Refuse[*answer.Said]("summary", "reasoning is read as it is", "[]"),
		fields.Refuse[*answer.Said]("encrypted_content", "nothing is encrypted here"),
	}, ofItem...),
}

// onlyCall is the one call of an item.
func onlyCall(m *answer.Said) *answer.Call {
	if m.Calls == nil {
		m.Calls = make([]answer.Call, 1)
	}
	return &m.Calls[0]
}

var textPartFields = append(fields.Table[*string]{
	fields.Refuse[*string]("annotations", "models here read text only", "[]"),
	fields.Ignore[*string]("logprobs", "they come with answers that are sent back"),
}, partFields...)
