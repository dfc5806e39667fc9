package openaiapi

import (
	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/chat"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/textgen"
)

// responseBuilder puts a response together, item by item, and sends its events
// where it is streamed.
type responseBuilder struct {
	response openai.Response
	out      *reply.Stream // nil: nothing is sent
	sequence int
	text     []byte // of the last item, which is not done: its text or arguments
	open     bool
	calls    int
	finished string

	logprobs func([]textgen.Token) []openai.TokenLogprob // nil: they are not wanted
	held     []openai.TokenLogprob                       // of tokens whose text has not come yet
	of       []openai.TokenLogprob                       // of the last item's text
}

// send sends an event; no other field of it is numbered here.
func (b *responseBuilder) send(e openai.ResponseEvent) error {
	if b.out == nil {
		return nil
	}
	e.Sequence = b.sequence
	b.sequence++
	return b.out.SendAs(e.Type, &e)
}

// sendAll sends events until one fails.
func (b *responseBuilder) sendAll(events ...openai.ResponseEvent) error {
	for _, e := range events {
		if err := b.send(e); err != nil {
			return err
		}
	}
	return nil
}

// whole is the response as it is now, which later changes do not reach.
func (b *responseBuilder) whole() *openai.Response {
	r := b.response
	return &r
}

// piece takes what the answer gained.
func (b *responseBuilder) piece(p *answer.Piece) error {
	if b.sequence == 0 {
		if err := b.sendAll(openai.ResponseEvent{Type: "response.created", Response: b.whole()}, openai.ResponseEvent{Type: "response.in_progress", Response: b.whole()}); err != nil {
			return err
		}
	}
	if b.logprobs != nil && !p.Reasoning {
		b.held = append(b.held, b.logprobs(p.Tokens)...)
	}
	for i := range p.Deltas {
		if err := b.delta(&p.Deltas[i]); err != nil {
			return err
		}
	}
	if p.Finish != "" {
		b.finished = p.Finish
	}
	return nil
}

func (b *responseBuilder) delta(d *chat.Delta) error {
	if d.Reasoning != "" {
		if err := b.grow("reasoning", d.Reasoning); err != nil {
			return err
		}
	}
	if d.Content != "" {
		if err := b.grow("message", d.Content); err != nil {
			return err
		}
	}
	for _, c := range d.ToolCalls {
		if c.Index == b.calls { // the next one begins
			b.calls++
			if err := b.begin(openai.OutputItem{ID: newID("fc_"), Type: "function_call", CallID: c.ID, Name: c.Name, Arguments: new(string)}); err != nil {
				return err
			}
		}
		if c.Arguments == "" {
			continue
		}
		if err := b.grow("function_call", c.Arguments); err != nil {
			return err
		}
	}
	return nil
}

// last is the item that grows.
func (b *responseBuilder) last() *openai.OutputItem {
	return &b.response.Output[len(b.response.Output)-1]
}

// at is where an event happens.
func (b *responseBuilder) at(kind string) openai.ResponseEvent {
	i := len(b.response.Output) - 1
	e := openai.ResponseEvent{Type: kind, ItemID: b.last().ID, OutputIndex: &i}
	if b.last().Type != "function_call" {
		e.ContentIndex = new(int)
	}
	return e
}

// begin ends the last item and begins another.
func (b *responseBuilder) begin(item openai.OutputItem) error {
	if err := b.end(); err != nil {
		return err
	}
	if item.Type != "message" {
		b.held = nil // only a message's text has them
	}
	item.Status = "in_progress"
	b.response.Output = append(b.response.Output, item)
	b.open = true
	i := len(b.response.Output) - 1
	if err := b.send(openai.ResponseEvent{Type: "response.output_item.added", OutputIndex: &i, Item: &item}); err != nil {
		return err
	}
	if item.Type == "function_call" {
		return nil
	}
	added := b.at("response.content_part.added")
	added.Part = newPart(item.Type, "")
	return b.send(added)
}

// newPart is the part of an item that has its text.
func newPart(item, text string) *openai.ContentPart {
	if item == "reasoning" {
		return &openai.ContentPart{Type: "reasoning_text", Text: text}
	}
	return &openai.ContentPart{Type: "output_text", Text: text, Annotations: []string{}, Logprobs: []openai.TokenLogprob{}}
}

// textEvents are the names of what happens to the text of an item.
var textEvents = map[string]string{"message": "response.output_text", "reasoning": "response.reasoning_text", "function_call": "response.function_call_arguments"}

// grow adds text to the last item, or begins one of that type.
func (b *responseBuilder) grow(kind, text string) error {
	if !b.open || b.last().Type != kind {
		item := openai.OutputItem{ID: newID("msg_"), Type: kind, Role: "assistant", Content: []openai.ContentPart{}}
		if kind == "reasoning" {
			item = openai.OutputItem{ID: newID("rs_"), Type: kind, Summary: []string{}}
		}
		if err := b.begin(item); err != nil {
			return err
		}
	}
	b.text = append(b.text, text...)
	e := b.at(textEvents[kind] + ".delta")
	e.Delta = text
	if kind == "message" {
		e.Logprobs = append([]openai.TokenLogprob{}, b.held...)
		b.of, b.held = append(b.of, b.held...), nil
	}
	return b.send(e)
}

// end completes the last item.
func (b *responseBuilder) end() error {
	if !b.open {
		return nil
	}
	b.open = false
	item, text := b.last(), string(b.text)
	b.text = b.text[:0]
	item.Status = "completed"
	done := b.at(textEvents[item.Type] + ".done")
	list := []openai.ResponseEvent{done}
	if item.Type == "function_call" {
		item.Arguments = &text
		list[0].Arguments, list[0].Name = &text, item.Name
	} else {
		part := newPart(item.Type, text)
		list[0].Text = &text
		if item.Type == "message" {
			part.Logprobs = append(part.Logprobs, b.of...)
			list[0].Logprobs, b.of = part.Logprobs, nil
		}
		item.Content = []openai.ContentPart{*part}
		whole := b.at("response.content_part.done")
		whole.Part = &item.Content[0]
		list = append(list, whole)
	}
	i := len(b.response.Output) - 1
	return b.sendAll(append(list, openai.ResponseEvent{Type: "response.output_item.done", OutputIndex: &i, Item: item})...)
}

// finish completes the response.
func (b *responseBuilder) finish(u *textgen.Usage, reasoning int) {
	cut := b.finished == string(textgen.FinishLength)
	if b.end() != nil {
		return // the client is gone
	}
	r := &b.response
	r.Usage = &openai.ResponseUsage{
		InputTokens: u.PromptTokens, InputDetails: openai.PromptDetails{CachedTokens: u.CachedTokens}, OutputTokens: u.GeneratedTokens,
		OutputDetails: openai.OutputDetails{ReasoningTokens: reasoning}, TotalTokens: u.PromptTokens + u.GeneratedTokens,
	}
	r.Status = "completed"
	kind := "response.completed"
	if cut {
		kind, r.Status, r.Incomplete = "response.incomplete", "incomplete", &openai.IncompleteDetails{Reason: "max_output_tokens"}
		if n := len(r.Output); n > 0 {
			r.Output[n-1].Status = "incomplete"
		}
	}
	b.send(openai.ResponseEvent{Type: kind, Response: b.whole()})
}
