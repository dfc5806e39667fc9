package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

// Options are what a template needs beside conversations.
type Options struct {
	BOS, EOS string        // texts of the tokens that begin and end a text; "" is none
	Limits   jinja.Options // of one rendering
}

// ErrNoTemplate is the error for a model without a chat template.
var ErrNoTemplate = errors.New("the model has no chat template, and its form of a conversation is not guessed: give a template, or use plain completions")

// Template is a model's chat template. It is safe for concurrent use.
type Template struct {
	program *jinja.Template
	opt     Options
	wants   wants
	form    form
}

// Compile reads a template; source is the field chat_template of a tokenizer's
// configuration, or tokenizer.chat_template of a GGUF file.
func Compile(source string, o Options) (*Template, error) {
	if strings.TrimSpace(source) == "" {
		return nil, ErrNoTemplate
	}
	program, err := jinja.Parse(source)
	if err != nil {
		return nil, err
	}
	t := &Template{program: program, opt: o}
	rendered := ""
	t.wants, rendered = t.probe()
	t.form = formOf(source + "\n" + rendered)
	return t, nil
}

// reserved are variables that a conversation sets itself.
var reserved = []string{"messages", "tools", "add_generation_prompt", "continue_final_message", "bos_token", "eos_token"}

// Render gives the prompt of a conversation. An error that the template raises is a
// *jinja.Raised, one that occurs in it a *jinja.Error.
func (t *Template) Render(c Conversation) (string, error) {
	if c.Variables != nil {
		for name := range c.Variables.All {
			if slices.Contains(reserved, name) {
				return "", fmt.Errorf("the template's variable %s is set by the conversation", name)
			}
		}
	}
	if len(c.Messages) == 0 {
		return "", errors.New("messages: expected at least one message")
	}
	if c.ContinueFinalMessage {
		return t.continued(c)
	}
	return t.run(c, t.wants)
}

// finalMark stands behind the text that is to be continued; a template that trims
// takes the space away.
const finalMark = "EndOfTheFinalMessage "

// continued ends the prompt behind the last message's text.
func (t *Template) continued(c Conversation) (string, error) {
	c.Messages = slices.Clone(c.Messages)
	final := &c.Messages[len(c.Messages)-1]
	text := final.mark()
	prompt, err := t.run(c, t.wants)
	if err != nil {
		return "", err
	}
	at := strings.LastIndex(prompt, strings.TrimSpace(finalMark))
	text = strings.TrimSpace(text)
	if at < 0 || text == "" || !strings.Contains(prompt, text) {
		return "", errors.New("continue_final_message: the last message's text does not stand in the prompt that the template makes")
	}
	if strings.HasPrefix(prompt[at:], finalMark) {
		return prompt[:at], nil
	}
	return strings.TrimRightFunc(prompt[:at], unicode.IsSpace), nil
}

// mark puts finalMark behind the message's text, and gives the text without it.
func (m *Message) mark() string {
	if n := len(m.Parts); n > 0 {
		text := m.Parts[n-1]
		m.Parts = slices.Clone(m.Parts)
		m.Parts[n-1] += finalMark
		return text
	}
	text := m.Content
	m.Content, m.NoContent = text+finalMark, false
	return text
}

func (t *Template) run(c Conversation, w wants) (string, error) {
	messages := make(jinja.List, len(c.Messages))
	for i := range c.Messages {
		m, err := c.Messages[i].value(w)
		if err != nil {
			return "", fmt.Errorf("messages[%d]%w", i, err)
		}
		messages[i] = m
	}
	vars := jinja.NewMap("messages", messages, "tools", toolValues(c.Tools), "documents", nil,
		"add_generation_prompt", c.AddGenerationPrompt && !c.ContinueFinalMessage)
	setText(vars, "bos_token", t.opt.BOS)
	setText(vars, "eos_token", t.opt.EOS)
	if c.Variables != nil {
		for name, v := range c.Variables.All {
			vars.Set(name, v)
		}
	}
	return t.program.Render(vars, t.opt.Limits)
}

// setText sets a variable or field that is not there if it is empty.
func setText(m *jinja.Map, name, s string) {
	if s != "" {
		m.Set(name, s)
	}
}

func toolValues(tools []Tool) any {
	if len(tools) == 0 {
		return nil
	}
	list := make(jinja.List, len(tools))
	for i := range tools {
		list[i] = tools[i].value()
	}
	return list
}

func (t *Tool) value() *jinja.Map {
	if t.source != nil {
		return t.source
	}
	fn := jinja.NewMap("name", t.Name)
	setText(fn, "description", t.Description)
	if t.Parameters != nil {
		fn.Set("parameters", t.Parameters)
	}
	return jinja.NewMap("type", "function", "function", fn)
}

// value is the message as the template wants it.
func (m *Message) value(w wants) (*jinja.Map, error) {
	v := jinja.NewMap()
	setText(v, "thinking", m.Reasoning) // gpt-oss's name for it; transformers gives both
	v.Set("role", m.Role)
	switch {
	case m.NoContent && len(m.ToolCalls) > 0 && w.null:
		v.Set("content", nil)
	case m.Parts != nil && w.parts, w.onlyParts:
		v.Set("content", m.partValues())
	case m.Parts != nil:
		v.Set("content", strings.Join(m.Parts, "\n"))
	default:
		v.Set("content", m.Content)
	}
	setText(v, "reasoning_content", m.Reasoning)
	setText(v, "name", m.Name)
	setText(v, "tool_call_id", m.ToolCallID)
	if len(m.ToolCalls) > 0 {
		calls := make(jinja.List, len(m.ToolCalls))
		for i := range m.ToolCalls {
			c, err := m.ToolCalls[i].value(w)
			if err != nil {
				return nil, fmt.Errorf(".tool_calls[%d].function.arguments: %w", i, err)
			}
			calls[i] = c
		}
		v.Set("tool_calls", calls)
	}
	if m.Extra != nil {
		for name, x := range m.Extra.All {
			v.Set(name, x)
		}
	}
	return v, nil
}

func (m *Message) partValues() jinja.List {
	parts := m.Parts
	if parts == nil {
		parts = []string{m.Content}
	}
	list := make(jinja.List, len(parts))
	for i, p := range parts {
		list[i] = jinja.NewMap("type", "text", "text", p)
	}
	return list
}

func (c *ToolCall) value(w wants) (*jinja.Map, error) {
	arguments, err := c.arguments(w)
	if err != nil {
		return nil, err
	}
	v := jinja.NewMap("type", "function", "function", jinja.NewMap("name", c.Name, "arguments", arguments))
	setText(v, "id", c.ID)
	return v, nil
}

func (c *ToolCall) arguments(w wants) (any, error) {
	if w.textArguments {
		return c.Arguments, nil
	}
	if strings.TrimSpace(c.Arguments) == "" {
		return jinja.NewMap(), nil
	}
	v, err := jinja.DecodeJSON(c.Arguments)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*jinja.Map); !ok {
		return nil, errors.New("expected a JSON object")
	}
	return v, nil
}
