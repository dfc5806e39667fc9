package chat

import (
	"encoding/json"
	"slices"
	"testing"
)

// forms are templates that are written for the fuzzer, one for each form of calls.
var forms = []string{
	"{{ '<think></think><tool_call>' }}", "{{ '<tool_call><function=' }}", "{{ '<tool_call><arg_key></think>' }}", "{{ '<｜DSML｜invoke name=\"<｜DSML｜function_calls>' }}",
	"{{ '<|tool_call_begin|><|tool_call_argument_begin|></think>' }}", "{{ '<｜tool▁call▁begin｜></think>' }}", "{{ '<|tool_call>call:<channel|>' }}", "{{ '[TOOL_CALLS][/THINK]' }}",
	"{{ '<|tools_prefix|><|inner_suffix|>' }}", "{{ '<|function_call|>' }}", "{{ '>>>all' }}", "{{ '<function=' }}", "{{ '<|tool_list_start|>' }}", "{{ 'Action:```json tool_name' }}",
	"{{ '{\"name\": \"parameters\": ' }}", "{{ '<|channel|><|message|><|start|>' }}", "{{ '<atem:<|message|><|start|>' }}", "{{ '<|open|><|close|><|sep|>' }}", "{{ ']<]minimax[>[</mm:think>' }}", "{{ 'none' }}",
}

// However an answer is cut, it comes to the same; and where no form is known, to itself.
func FuzzAnswer(f *testing.F) {
	for i, a := range answers {
		f.Add(a.answer, uint16(i), uint16(7*i))
	}
	templates := make([]*Template, len(forms))
	for i, source := range forms {
		var err error
		if templates[i], err = Compile(source, Options{}); err != nil {
			f.Fatal(err)
		}
		if known := templates[i].Parser(Conversation{}).Tools(); known != (i < len(forms)-1) {
			f.Fatalf("%s: the form of its calls is known: %v", source, known)
		}
	}
	c := weather(f)
	f.Fuzz(func(t *testing.T, answer string, form, at uint16) {
		if len(answer) > 4096 {
			return
		}
		tmpl := templates[int(form)%len(templates)]
		want := parsePieces(t, tmpl, c, answer)
		if tmpl.form.messages == nil && tmpl.form.calls == nil && want.content != answer {
			t.Errorf("%q became %v", answer, want)
		}
		n := 0
		if len(answer) > 0 {
			n = int(at) % len(answer)
		}
		if got := parsePieces(t, tmpl, c, answer[:n], answer[n:]); !got.equal(want) {
			t.Errorf("%q | %q:\ngot      %v\nexpected %v", answer[:n], answer[n:], got, want)
		}
		var single []string
		for i := range len(answer) {
			single = append(single, answer[i:i+1])
		}
		if got := parsePieces(t, tmpl, c, single...); !got.equal(want) {
			t.Errorf("%q byte by byte:\ngot      %v\nexpected %v", answer, got, want)
		}
	})
}

// What is read of a request either fails or renders.
func FuzzMessages(f *testing.F) {
	for _, s := range []string{
		`[{"role": "user", "content": "a"}]`, `[{"role": "user", "content": [{"type": "text", "text": "a"}], "name": "n", "x": 1}]`,
		`[{"role": "assistant", "content": null, "reasoning_content": "r", "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]}]`,
	} {
		f.Add(s)
	}
	tmpl, err := Compile("{% for m in messages %}{{ m.role }}{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}{{ m | tojson }}{% endfor %}", Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		messages, err := decodeMessages(json.RawMessage(raw))
		if err != nil {
			return
		}
		c := Conversation{Messages: slices.Clone(messages)}
		if text, err := tmpl.Render(c); err == nil && text == "" {
			t.Errorf("%s: rendered to nothing", raw)
		}
	})
}
