package answer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/chat/jinja"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/textgen"
	"github.com/salver-ml/salver/internal/token"
)

// Bounds of a conversation.
const (
	MaxMessages = 4096
	MaxParts    = 256 // of a message
	MaxTools    = 128
	MaxCalls    = 128 // of a message
	MaxName     = 256 // bytes of a name or an identifier
)

// Conversation is what was said and what is to come, in no protocol's form.
type Conversation struct {
	Messages []Said
	Tools    []Tool
	NoTools  bool // the model is not told of them, since it may not call any
	// Continue goes on with the last message, instead of beginning an answer to it.
	Continue bool
	// NoPrompt leaves out what begins an answer.
	NoPrompt bool
	// OneCall leaves out the calls of tools behind an answer's first one.
	OneCall   bool
	Variables []fields.Member // of the template
}

// Said is a message.
type Said struct {
	Role      string   // system, user, assistant, tool, or what else the template knows
	Parts     []string // text
	Reasoning string
	Name      string
	CallID    string // of the call that a tool's message answers
	Calls     []Call
}

// Call is a call of a tool; Arguments are JSON.
type Call struct{ ID, Name, Arguments string }

// Tool is a function that the model may call. Parameters are a JSON schema.
type Tool struct {
	Name, Description string
	Parameters        json.RawMessage
	Raw               json.RawMessage // all of it, if it came in the form of OpenAI's chats
}

// ReadTexts reads a text, or an array of parts of the types given by the table of their form.
func ReadTexts(v fields.Value, part fields.Table[*string], types ...string) ([]string, error) {
	if v.Kind() == "string" {
		s, err := v.Text()
		return []string{s}, err
	}
	list, err := v.Array(MaxParts)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, e := range list {
		if err := e.OfType(types...); err != nil {
			return nil, err
		}
		if err := part.Read(e, &texts[i]); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// FunctionFields is a function as OpenAI's form has it, which others follow.
var FunctionFields = fields.Table[*Tool]{
	fields.Text("name", "", MaxName, func(t *Tool) *string { return &t.Name }),
	fields.Text("description", "", fields.Many, func(t *Tool) *string { return &t.Description }),
	fields.Any("parameters", "JSON schema", "", func(t *Tool, v fields.Value) error {
		t.Parameters = v.Raw
		_, err := v.Object()
		return err
	}),
	Strict,
}

// Strict is what many clients send by default. A call is not held to its tool's
// schema, with it or without.
var Strict = fields.Ignore[*Tool]("strict", "arguments are as the model writes them: output can't be constrained yet")

// OneCall is a field that says whether calls may come beside each other, by another name
// if only says the opposite.
func OneCall(name string, only bool) *fields.Field[*Conversation] {
	doc := "false gives the first call of an answer alone. Default: true."
	if only {
		doc = "true gives the first call of an answer alone."
	}
	return fields.Any(name, "boolean", doc, func(c *Conversation, v fields.Value) error {
		on, err := v.Bool()
		c.OneCall = on == only
		return err
	})
}

// ReadTools reads functions of the types given by the table of their form.
func ReadTools(v fields.Value, table fields.Table[*Tool], types ...string) ([]Tool, error) {
	list, err := v.Array(MaxTools)
	if err != nil {
		return nil, err
	}
	var out []Tool
	for _, e := range list {
		var t Tool
		if err := e.OfType(types...); err != nil {
			return nil, err
		}
		if err := table.Read(e, &t); err != nil {
			return nil, err
		}
		if t.Name == "" {
			return nil, e.Errorf("expected the function's name")
		}
		out = append(out, t)
	}
	return out, nil
}

// Prompt makes a prompt of a conversation with the model's template: most is that of
// token.EncodeOptions.
func Prompt(m textgen.Model, c *Conversation, most int) (*chat.Template, *chat.Conversation, []int32, error) {
	t, err := m.ChatTemplate()
	if err != nil {
		return nil, nil, nil, &Problem{Status: http.StatusBadRequest, Param: "messages", Message: "this model can't chat: " + err.Error()}
	}
	cc, err := c.chat()
	if err != nil {
		return nil, nil, nil, err
	}
	text, err := t.Render(*cc)
	if err != nil {
		return nil, nil, nil, &Problem{Status: http.StatusBadRequest, Param: "messages", Message: "the model's chat template refuses them: " + err.Error()}
	}
	return t, cc, m.Tokenizer().Encode(text, token.EncodeOptions{ParseSpecial: true, Most: most}), nil
}

// chat is the conversation for the template.
func (c *Conversation) chat() (*chat.Conversation, error) {
	out := &chat.Conversation{AddGenerationPrompt: !c.NoPrompt, ContinueFinalMessage: c.Continue}
	for i := range c.Messages {
		m := &c.Messages[i]
		to := chat.Message{Role: m.Role, NoContent: m.Parts == nil, Reasoning: m.Reasoning, Name: m.Name, ToolCallID: m.CallID}
		if len(m.Parts) == 1 {
			to.Content = m.Parts[0]
		} else {
			to.Parts = m.Parts
		}
		for _, call := range m.Calls {
			to.ToolCalls = append(to.ToolCalls, chat.ToolCall(call))
		}
		out.Messages = append(out.Messages, to)
	}
	tools := c.Tools
	if c.NoTools {
		tools = nil
	}
	for i := range tools {
		t, err := tools[i].chat()
		if err != nil {
			return nil, &fields.Error{Path: fmt.Sprintf("tools[%d]", i), Reason: err.Error()}
		}
		out.Tools = append(out.Tools, t)
	}
	for _, v := range c.Variables {
		value, err := jinja.DecodeJSON(string(v.Raw))
		if err != nil {
			return nil, v.Errorf("%v", err)
		}
		if out.Variables == nil {
			out.Variables = jinja.NewMap()
		}
		out.Variables.Set(v.Name, value)
	}
	return out, nil
}

// chat is the tool for the template, with its members in the order in which they came.
func (t *Tool) chat() (chat.Tool, error) {
	if t.Raw != nil {
		list, err := chat.DecodeTools(slices.Concat([]byte("["), t.Raw, []byte("]")))
		if err != nil {
			return chat.Tool{}, err
		}
		return list[0], nil
	}
	out := chat.Tool{Name: t.Name, Description: t.Description}
	if t.Parameters == nil {
		return out, nil
	}
	var err error
	out.Parameters, err = jinja.DecodeJSON(string(t.Parameters))
	return out, err
}

// Variable is a variable of the template.
func Variable(name string, value any) fields.Member {
	raw, err := json.Marshal(value)
	if err != nil { // the callers' values are strings and booleans
		panic(err)
	}
	return fields.Member{Name: name, Value: fields.Value{Raw: raw, Path: name}}
}
