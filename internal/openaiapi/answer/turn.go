package answer

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/openaiapi/fields"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/textgen"
)

// Turn is a conversation that is ready to be continued.
type Turn struct {
	Request *textgen.Request
	model   textgen.Model
	parsers []*chat.Parser // one for each choice
	state   []turnState    // of each choice
	oneCall bool           // calls behind the first are left out
	// Reasoning is how many tokens of all choices went into reasoning so far.
	Reasoning int
}

// turnState is what a choice has come to.
type turnState struct {
	thinks bool // its last text was reasoning
	calls  int  // of tools
}

// Turn finds a model and makes the prompt. Without a temperature, neither the request's
// nor the model's, the usual one is taken. The caller releases the model, unless there
// is an error.
func (s *Server) Turn(ctx context.Context, model string, c *Conversation, set *Settings, stream bool, usual float32) (*serve.Held[textgen.Model], *Turn, error) {
	m, err := s.Model(model)
	if err != nil {
		return nil, nil, err
	}
	info := m.Model.Info()
	err = set.Check(&info, stream)
	var t *Turn
	if err == nil {
		t, err = newTurn(m.Model, c, set, usual, oip.Tenant(ctx))
	}
	if err != nil {
		m.Release()
		return nil, nil, err
	}
	return m, t, nil
}

func newTurn(m textgen.Model, c *Conversation, s *Settings, usual float32, tenant string) (*Turn, error) {
	info := m.Info()
	template, conversation, prompt, err := Prompt(m, c, textgen.MostOf(info.Context-1))
	if err != nil {
		return nil, err
	}
	if err := Fit(prompt, &info); err != nil {
		return nil, err
	}
	t := &Turn{Request: s.Request(prompt, &info, usual, tenant), model: m, state: make([]turnState, s.Choices()), oneCall: c.OneCall}
	for range s.Choices() {
		t.parsers = append(t.parsers, template.Parser(*conversation))
	}
	if t.parsers[0].Special() {
		t.Request.KeepSpecial = true
	}
	if len(conversation.Tools) > 0 && !t.parsers[0].Tools() {
		return nil, &fields.Error{Path: "tools", Reason: "this model's chat template has no form of tool calls that is known here"}
	}
	return t, nil
}

// Piece is what a choice gained. It is valid during the call that gives it.
type Piece struct {
	Choice int
	Deltas []chat.Delta
	Tokens []textgen.Token
	// Reasoning reports whether the tokens went into reasoning, and not into the answer.
	Reasoning bool
	Finish    string // "", stop, length or tool_calls
	Stop      string // the stop string that ended it
}

// Run continues the conversation.
func (t *Turn) Run(ctx context.Context, emit func(*Piece) error) (*textgen.Usage, error) {
	return t.model.Generate(ctx, t.Request, func(e *textgen.Event) error {
		p := Piece{Choice: e.Choice, Tokens: e.Tokens, Stop: e.Stop, Finish: string(e.Finish), Deltas: t.parsers[e.Choice].Push(e.Text)}
		if e.Finish != "" {
			p.Deltas = append(p.Deltas, t.parsers[e.Choice].Finish()...)
		}
		st := &t.state[e.Choice]
		if t.oneCall {
			p.Deltas = firstCall(p.Deltas)
		}
		for i := range p.Deltas {
			st.take(&p.Deltas[i])
		}
		p.Reasoning = st.thinks
		if st.thinks {
			t.Reasoning += len(p.Tokens)
		}
		if e.Finish == textgen.FinishStop && st.calls > 0 {
			p.Finish = "tool_calls"
		}
		return emit(&p)
	})
}

// firstCall leaves out an answer's calls behind its first one. A delta has one call at most.
func firstCall(deltas []chat.Delta) []chat.Delta {
	return slices.DeleteFunc(deltas, func(d chat.Delta) bool { return len(d.ToolCalls) > 0 && d.ToolCalls[0].Index > 0 })
}

// take notes what a delta brings, and gives calls without an id one.
func (st *turnState) take(d *chat.Delta) {
	st.thinks = d.Reasoning != ""
	for i := range d.ToolCalls {
		c := &d.ToolCalls[i]
		if c.Index == st.calls {
			st.calls++
			if c.ID == "" {
				c.ID = "call_" + rand.Text()
			}
		}
	}
}

// Message is a whole answer.
type Message struct {
	Content, Reasoning string
	Calls              []Call
	Finish, Stop       string
}

// Object is a call's arguments as an object, for protocols that have no others.
func Object(arguments string) json.RawMessage {
	var o map[string]json.RawMessage
	if json.Unmarshal([]byte(arguments), &o) == nil && o != nil {
		return json.RawMessage(arguments)
	}
	b, err := json.Marshal(map[string]string{"arguments": arguments})
	if err != nil { // of a string: never
		panic(err)
	}
	return b
}

// messageBuilder puts a Message together.
type messageBuilder struct {
	Message
	content, reasoning strings.Builder
	arguments          []*strings.Builder
}

func (b *messageBuilder) add(p *Piece) error {
	for i := range p.Deltas {
		d := &p.Deltas[i]
		b.content.WriteString(d.Content)
		b.reasoning.WriteString(d.Reasoning)
		for _, c := range d.ToolCalls {
			if c.Index == len(b.Calls) {
				b.Calls, b.arguments = append(b.Calls, Call{}), append(b.arguments, new(strings.Builder))
			}
			if c.Index >= len(b.Calls) {
				return fmt.Errorf("tool call %d came after %d others", c.Index, len(b.Calls))
			}
			call := &b.Calls[c.Index]
			call.ID += c.ID
			call.Name += c.Name
			b.arguments[c.Index].WriteString(c.Arguments)
		}
	}
	if p.Finish != "" {
		b.Finish, b.Stop = p.Finish, p.Stop
	}
	return nil
}

// Collect continues the conversation and gives the whole answers. each, if not
// nil, sees the pieces.
func (t *Turn) Collect(ctx context.Context, each func(*Piece)) ([]Message, *textgen.Usage, error) {
	builders := make([]messageBuilder, len(t.parsers))
	usage, err := t.Run(ctx, func(p *Piece) error {
		if each != nil {
			each(p)
		}
		return builders[p.Choice].add(p)
	})
	if err != nil {
		return nil, nil, err
	}
	list := make([]Message, len(builders))
	for i := range builders {
		b := &builders[i]
		b.Content, b.Reasoning = b.content.String(), b.reasoning.String()
		for k := range b.Calls {
			b.Calls[k].Arguments = b.arguments[k].String()
		}
		list[i] = b.Message
	}
	return list, usage, nil
}

// CallsTools reports whether a template has a form of tool calls that is known.
func CallsTools(t *chat.Template) bool { return t.Parser(chat.Conversation{}).Tools() }
