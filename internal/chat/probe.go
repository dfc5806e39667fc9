package chat

import "strings"

// wants is the form in which a template takes what others take otherwise.
type wants struct {
	textArguments bool // arguments of calls as JSON text, not as an object
	parts         bool // content may be a list of parts
	onlyParts     bool // content must be a list of parts
	null          bool // content may be null beside tool calls
}

// The words of the probes: no template has them.
const (
	probeText     = "ProbeOfContent"
	probeFunction = "probe_of_function"
	probeName     = "probe_of_argument"
)

// probeSteps bounds the work of a probe, so that loading a hostile template is quick.
const probeSteps = 500_000

// probe renders small conversations to find out what the template takes. Where
// no form works it is the one that transformers gives. rendered is a prompt with a call, if there is one.
func (t *Template) probe() (w wants, rendered string) {
	small := *t
	small.opt.Limits.Steps = probeSteps
	t = &small
	shown := func(c Conversation, w wants, want string, wrong ...string) bool {
		text, err := t.run(c, w)
		if err != nil || !strings.Contains(text, want) {
			return false
		}
		for _, s := range wrong {
			if strings.Contains(text, s) {
				return false
			}
		}
		return true
	}
	said := Conversation{Messages: []Message{{Role: "user", Content: probeText}}, AddGenerationPrompt: true}
	w.parts = shown(said, wants{onlyParts: true}, probeText, "'text'", `"text"`)
	w.onlyParts = w.parts && !shown(said, wants{}, probeText)

	call := Message{Role: "assistant", ToolCalls: []ToolCall{{ID: "call00001", Name: probeFunction, Arguments: `{"` + probeName + `": 1}`}}}
	tools := []Tool{{Name: probeFunction, Description: "d"}}
	called := Conversation{Messages: []Message{said.Messages[0], call}, Tools: tools}
	wrong := []string{"{'" + probeName, `\"` + probeName, "&#34;"} // as Python writes it, as a text, or with safe, after which Jinja escapes
	if !shown(called, w, probeName, wrong...) {
		text := w
		text.textArguments = true
		w.textArguments = shown(called, text, probeName, wrong...)
	}
	called.Messages[1].NoContent = true
	null := w
	null.null = true
	w.null = shown(called, null, probeName, "None")
	rendered, _ = t.run(called, w) // a template without calls shows no form
	return w, rendered
}
