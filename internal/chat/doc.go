// Package chat turns a conversation into the prompt that a model was trained on,
// by the chat template that comes with the model, and turns what the model writes
// back into text, reasoning and tool calls.
//
//	t, err := chat.Compile(source, chat.Options{BOS: "<s>", EOS: "</s>"})
//	prompt, err := t.Render(conversation)
//	p := t.Parser(conversation)
//	deltas := p.Push(text) // as text comes, in pieces of any size
//	deltas = p.Finish()
//
// # Prompts
//
// Templates are programs in Jinja (package jinja), written for transformers'
// apply_chat_template; Render gives them what that function would. Where templates
// differ in what they expect (arguments of calls as an object or as text, content as a
// string or as parts, null or empty content beside tool calls), Compile finds out by
// rendering a small conversation each way.
//
// # Answers
//
// A template shows how it writes a model's own earlier tool calls and reasoning, and
// the model writes them the same way. Parser looks for the markers of the known forms
// in the template's text. A form that isn't known leaves all text as content, and Tools
// says so. What looks like a call and isn't well formed stays content: the contents, reasoning
// and calls of all deltas together are the same however the text was cut into pieces, and
// no text is lost but the markers themselves and white space beside them.
package chat
