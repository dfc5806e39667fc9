package anthropic

import (
	"crypto/rand"
	"encoding/json"

	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/textgen"
)

// answerMessage is the answer.
type answerMessage struct {
	ID           string  `json:"id"`
	Type         string  `json:"type"` // message
	Role         string  `json:"role"` // assistant
	Model        string  `json:"model"`
	Content      []block `json:"content"`
	StopReason   *string `json:"stop_reason"` // end_turn, max_tokens, stop_sequence, tool_use
	StopSequence *string `json:"stop_sequence"`
	Usage        usage   `json:"usage"`
}

// usage counts tokens; those found in the prefix cache are counted apart.
type usage struct {
	InputTokens   int `json:"input_tokens"`
	CacheCreation int `json:"cache_creation_input_tokens"`
	CacheRead     int `json:"cache_read_input_tokens"`
	OutputTokens  int `json:"output_tokens"`
}

// block is text, thinking, or the use of a tool.
type block struct {
	Type      string          `json:"type"`
	Text      *string         `json:"text,omitempty"`
	Thinking  *string         `json:"thinking,omitempty"`
	Signature *string         `json:"signature,omitempty"`
	ID        string          `json:"id,omitempty"`
	Name      string          `json:"name,omitempty"`
	Input     json.RawMessage `json:"input,omitempty"`
}

// event is one of a stream. Which fields it has depends on its type.
type event struct {
	Type    string         `json:"type"`
	Message *answerMessage `json:"message,omitempty"`
	Index   *int           `json:"index,omitempty"`
	Block   *block         `json:"content_block,omitempty"`
	Delta   any            `json:"delta,omitempty"`
	Usage   *usage         `json:"usage,omitempty"`
}

type blockDelta struct {
	Type     string `json:"type"`
	Text     string `json:"text,omitempty"`
	Thinking string `json:"thinking,omitempty"`
	Partial  string `json:"partial_json,omitempty"`
}

type messageDelta struct {
	StopReason   *string `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
}

// builder puts a message together, block by block, and sends its events where
// it is streamed.
type builder struct {
	message answerMessage
	out     *reply.Stream // nil: nothing is sent
	begun   bool
	open    bool   // the last block is not done
	text    []byte // of the last block
	calls   int
	reason  string
	stop    string
}

func newBuilder(model string) *builder {
	return &builder{message: answerMessage{ID: "msg_" + rand.Text(), Type: "message", Role: "assistant", Model: model, Content: []block{}}}
}

func (b *builder) send(e event) error {
	if b.out == nil {
		return nil
	}
	return b.out.SendAs(e.Type, &e)
}

// piece takes what the answer gained.
func (b *builder) piece(p *answer.Piece) error {
	if !b.begun {
		b.begun = true
		if err := b.send(event{Type: "message_start", Message: &b.message}); err != nil {
			return err
		}
	}
	for i := range p.Deltas {
		if err := b.delta(&p.Deltas[i]); err != nil {
			return err
		}
	}
	if p.Finish != "" {
		b.reason, b.stop = p.Finish, p.Stop
	}
	return nil
}

func (b *builder) delta(d *chat.Delta) error {
	if d.Reasoning != "" {
		if err := b.grow("thinking", d.Reasoning); err != nil {
			return err
		}
	}
	if d.Content != "" {
		if err := b.grow("text", d.Content); err != nil {
			return err
		}
	}
	for _, c := range d.ToolCalls {
		if c.Index == b.calls {
			b.calls++
			if err := b.begin(block{Type: "tool_use", ID: c.ID, Name: c.Name, Input: json.RawMessage("{}")}); err != nil {
				return err
			}
		}
		if c.Arguments == "" {
			continue
		}
		if err := b.grow("tool_use", c.Arguments); err != nil {
			return err
		}
	}
	return nil
}

// begin ends the last block and begins another.
func (b *builder) begin(k block) error {
	if err := b.end(); err != nil {
		return err
	}
	b.open = true
	b.message.Content = append(b.message.Content, k)
	i := len(b.message.Content) - 1
	return b.send(event{Type: "content_block_start", Index: &i, Block: &k})
}

// grow adds text to the last block, or begins one of that type.
func (b *builder) grow(kind, text string) error {
	if !b.open || b.message.Content[len(b.message.Content)-1].Type != kind {
		k := block{Type: kind}
		if kind == "thinking" {
			k.Thinking, k.Signature = new(string), new(string)
		} else {
			k.Text = new(string)
		}
		if err := b.begin(k); err != nil {
			return err
		}
	}
	b.text = append(b.text, text...)
	i := len(b.message.Content) - 1
	d := blockDelta{Type: "text_delta", Text: text}
	switch kind {
	case "thinking":
		d = blockDelta{Type: "thinking_delta", Thinking: text}
	case "tool_use":
		d = blockDelta{Type: "input_json_delta", Partial: text}
	}
	return b.send(event{Type: "content_block_delta", Index: &i, Delta: d})
}

// end completes the last block.
func (b *builder) end() error {
	if !b.open {
		return nil
	}
	b.open = false
	i := len(b.message.Content) - 1
	text := string(b.text)
	b.text = b.text[:0]
	switch k := &b.message.Content[i]; k.Type {
	case "text":
		k.Text = &text
	case "thinking":
		k.Thinking = &text
	case "tool_use":
		k.Input = answer.Object(text)
	}
	return b.send(event{Type: "content_block_stop", Index: &i})
}

// finish completes the message.
func (b *builder) finish(u *textgen.Usage) {
	if b.end() != nil {
		return // the client is gone
	}
	m := &b.message
	m.Usage = usage{InputTokens: u.PromptTokens - u.CachedTokens, CacheRead: u.CachedTokens, OutputTokens: u.GeneratedTokens}
	reason := map[string]string{"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[b.reason]
	if b.stop != "" && b.reason == "stop" {
		reason, m.StopSequence = "stop_sequence", &b.stop
	}
	m.StopReason = &reason
	b.send(event{Type: "message_delta", Delta: messageDelta{m.StopReason, m.StopSequence}, Usage: &m.Usage})
	b.send(event{Type: "message_stop"})
}
