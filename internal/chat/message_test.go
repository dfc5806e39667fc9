package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/chat/jinja"
)

func compile(t *testing.T, source string) *Template {
	t.Helper()
	tmpl, err := Compile(source, testOptions)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

// The order of what came as JSON is kept, down to the parameters of tools.
func TestDecode(t *testing.T) {
	messages, err := decodeMessages(json.RawMessage(`[
		{"content": "Be brief.", "role": "system"},
		{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ada"},
		{"role": "assistant", "content": null, "reasoning_content": "r", "tool_calls": [
			{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": [2]}"}},
			{"id": "2", "type": "function", "function": {"name": "g", "arguments": {"y": 1.0}}},
			{"type": "function", "function": {"name": "h", "arguments": ""}}]},
		{"role": "tool", "tool_call_id": "1", "content": "4", "cached": true}]`))
	if err != nil {
		t.Fatal(err)
	}
	tools, err := DecodeTools(json.RawMessage(`[{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"z": 18446744073709551615, "a": 1.0}, "description": "<d>"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	tools = append(tools, Tool{Name: "g", Description: "d", Parameters: jinja.NewMap("type", "object")})
	tmpl := compile(t, "{% for m in messages %}{{ m | tojson }}\n{% endfor %}{{ tools | tojson }}{{ x }}{{ bos_token }}{{ documents is none }}")
	got, err := tmpl.Render(Conversation{Messages: messages, Tools: tools, Variables: jinja.NewMap("x", true)})
	want := `{"role": "system", "content": "Be brief."}
{"role": "user", "content": "a\nb", "name": "Ada"}
{"thinking": "r", "role": "assistant", "content": null, "reasoning_content": "r", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": [2]}}, "id": "1"}, {"type": "function", "function": {"name": "g", "arguments": {"y": 1.0}}, "id": "2"}, {"type": "function", "function": {"name": "h", "arguments": {}}}]}
{"role": "tool", "content": "4", "tool_call_id": "1", "cached": true}
[{"type": "function", "function": {"name": "f", "strict": true, "parameters": {"z": 18446744073709551615, "a": 1.0}, "description": "<d>"}}, {"type": "function", "function": {"name": "g", "description": "d", "parameters": {"type": "object"}}}]True<s>True`
	if err != nil || got != want {
		t.Errorf("got\n%s, %v\nexpected\n%s", got, err, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		`{`:                                    "messages: JSON at byte 1",
		`{}`:                                   "messages: expected an array",
		`[1]`:                                  "messages[0]: expected an object",
		`[{"content": "a"}]`:                   "messages[0].role: expected a role",
		`[{"role": 1}]`:                        "messages[0].role: expected a string",
		`[{"role": "user", "content": 1}]`:     "messages[0].content: expected a string or an array of parts",
		`[{"role": "user", "content": ["a"]}]`: "messages[0].content[0]: expected an object",
		`[{"role": "user", "content": [{"type": "image_url"}]}]`:                                  "messages[0].content[0].type: expected text",
		`[{"role": "user", "content": [{"type": "text"}]}]`:                                       "messages[0].content[0].text: expected a string",
		`[{"role": "a", "tool_calls": 1}]`:                                                        "messages[0].tool_calls: expected an array",
		`[{"role": "a", "tool_calls": [1]}]`:                                                      "messages[0].tool_calls[0]: expected an object",
		`[{"role": "a", "tool_calls": [{"type": "custom"}]}]`:                                     "messages[0].tool_calls[0].type: expected function",
		`[{"role": "a", "tool_calls": [{"type": "function"}]}]`:                                   "messages[0].tool_calls[0].function: expected an object",
		`[{"role": "a", "tool_calls": [{"id": 5, "function": {}}]}]`:                              "messages[0].tool_calls[0].id: expected a string",
		`[{"role": "a", "tool_calls": [{"function": {"name": 5}}]}]`:                              "messages[0].tool_calls[0].function.name: expected a string",
		`[{"role": "a", "content": "` + "\x01" + `"}]`:                                            "control character",
		`[{"role": "a", "content": "x", "reasoning_content": []}]`:                                "messages[0].reasoning_content: expected a string",
		`[{"role": "a", "content": ` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}]`: "nest deeper than 256",
		`[{"role": "a", "content": "x", "tool_call_id": 1}]`:                                      "messages[0].tool_call_id: expected a string",
	} {
		if _, err := decodeMessages(json.RawMessage(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, expected an error with %q", raw, err, want)
		}
	}
	for raw, want := range map[string]string{
		`[5]`: "tools[0]: expected an object", `[{"type": "code"}]`: "tools[0].type: expected function", `[{"type": "function"}]`: "tools[0].function: expected an object",
		`[{"function": {"name": ""}}]`: "tools[0].function.name: expected the function's name", `[{"function": {"name": "f", "description": 1}}]`: "tools[0].function.description: expected a string",
	} {
		if _, err := DecodeTools(json.RawMessage(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, expected an error with %q", raw, err, want)
		}
	}
}

func TestNoTemplate(t *testing.T) {
	if _, err := Compile(" \n", Options{}); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("got %v, expected ErrNoTemplate", err)
	}
	var failed *jinja.Error
	if _, err := Compile("{% if %}", Options{}); !errors.As(err, &failed) {
		t.Errorf("got %v, expected a *jinja.Error", err)
	}
}

// A template that runs for ever is found out when it is used, and loads at once.
func TestHostileTemplate(t *testing.T) {
	tmpl, err := Compile("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", Options{Limits: jinja.Options{Steps: 1_000_000}})
	if err != nil {
		t.Fatal(err)
	}
	var failed *jinja.Error
	if _, err := tmpl.Render(Conversation{Messages: []Message{{Role: "user"}}}); !errors.As(err, &failed) || failed.Kind != "LimitError" {
		t.Errorf("got %v, expected a LimitError", err)
	}
}

const chatML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

func TestRenderRefuses(t *testing.T) {
	user := Message{Role: "user", Content: "Hi"}
	for want, c := range map[string]Conversation{
		"expected at least one message":      {},
		"variable messages is set by":        {Messages: []Message{user}, Variables: jinja.NewMap("messages", nil)},
		"does not stand in the prompt":       {Messages: []Message{{Role: "assistant"}}, ContinueFinalMessage: true},
		"messages[1].tool_calls[0].function": {Messages: []Message{user, {Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: "{"}}}}},
		"arguments: expected a JSON object":  {Messages: []Message{{Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: "[]"}}}}},
		"arguments: JSON at byte 0":          {Messages: []Message{{Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: "x"}}}}},
	} {
		if got, err := compile(t, chatML).Render(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, %v, expected an error with %q", got, err, want)
		}
	}
}

// A message that is to be continued ends the prompt.
func TestContinueFinalMessage(t *testing.T) {
	for _, c := range []struct{ template, final, want string }{
		{chatML, " Once upon a ", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nOnce upon a"},
		{strings.ReplaceAll(chatML, " | trim", ""), " Once upon a ", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n Once upon a "},
		{chatML, "Hi", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHi"},
	} {
		for _, final := range []Message{{Role: "assistant", Content: c.final}, {Role: "assistant", Parts: []string{c.final}}} {
			got, err := compile(t, c.template).Render(Conversation{
				Messages: []Message{{Role: "user", Content: "Hi"}, final}, AddGenerationPrompt: true, ContinueFinalMessage: true,
			})
			if err != nil || got != c.want {
				t.Errorf("%q: got %q, %v, expected %q", c.final, got, err, c.want)
			}
		}
	}
}

// Reasoning that the final message has begun goes on.
func TestContinuedReasoning(t *testing.T) {
	tmpl := compile(t, chatML+"{{ '<think></think>' if false }}")
	for final, want := range map[string]result{
		"<think>\nSo":       {"Yes.", " it is.", nil},
		"<think>a</think>b": {" it is.</think>Yes.", "", nil},
	} {
		c := Conversation{Messages: []Message{{Role: "assistant", Content: final}}, ContinueFinalMessage: true}
		if got := parsePieces(t, tmpl, c, " it is.</think>Yes."); !got.equal(want) {
			t.Errorf("%q: got %v, expected %v", final, got, want)
		}
	}
}

// What templates want differs, and is found out.
func TestProbes(t *testing.T) {
	calls := "{% for m in messages %}{{ m.content if m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}%s{% endfor %}{% endfor %}"
	for name, c := range map[string]struct {
		source string
		want   wants
	}{
		"object":            {strings.Replace(calls, "%s", "{{ c.function.arguments | tojson }}", 1), wants{null: true}},
		"items":             {strings.Replace(calls, "%s", "{% for k, v in c.function.arguments.items() %}{{ k }}{% endfor %}", 1), wants{null: true}},
		"text":              {strings.Replace(calls, "%s", "{{ 'x' + c.function.arguments }}", 1), wants{textArguments: true, null: true}},
		"escaped":           {strings.Replace(calls, "%s", `{{ '{"' + c.function.name + '": ' + (c.function.arguments if c.function.arguments is string else c.function.arguments | tojson | safe) }}`, 1), wants{textArguments: true, null: true}},
		"printed":           {strings.Replace(calls, "%s", "{{ c.function.arguments }}", 1), wants{textArguments: true, null: true}},
		"no null":           {"{% for m in messages %}{{ m.content | trim }}{{ m.tool_calls | tojson if m.tool_calls }}{% endfor %}", wants{}},
		"parts or text":     {"{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}", wants{parts: true}},
		"nothing but parts": {"{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}", wants{parts: true, onlyParts: true}},
	} {
		if got := compile(t, c.source).wants; got != c.want {
			t.Errorf("%s: got %+v, expected %+v", name, got, c.want)
		}
	}
	only := compile(t, "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}")
	if got, err := only.Render(Conversation{Messages: []Message{{Role: "user", Content: "Hi"}}}); err != nil || got != "Hi" {
		t.Errorf("got %q, %v, expected Hi", got, err)
	}
}

// Parameters that are written as text get the types of the tool's schema.
func TestTypedParameters(t *testing.T) {
	list, err := DecodeTools(json.RawMessage(`[{"function": {"name": "f", "parameters": {"properties": {
		"s": {"type": "string"}, "n": {"type": "number"}, "sn": {"type": ["string", "null"]}, "si": {"type": ["string", "integer"]}, "e": {"enum": ["1", "2"]}, "m": {"enum": ["1", 2]}, "any": {}}}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	tools := toolsOf(list)
	for _, c := range []struct{ parameter, text, want string }{
		{"s", "1", `"1"`}, {"n", "1", "1"}, {"n", "1.50", "1.5"}, {"n", "much", `"much"`}, {"sn", "1", `"1"`}, {"si", "1", "1"}, {"e", "1", `"1"`}, {"m", "1", "1"},
		{"any", "[1, 2]", "[1, 2]"}, {"any", "True", "true"}, {"any", "None", "null"}, {"any", "False", "false"}, {"unknown", "x y", `"x y"`}, {"unknown", "null", "null"},
	} {
		if got, err := jinja.ToJSON(tools.value("f", c.parameter, c.text)); err != nil || got != c.want {
			t.Errorf("%s %q: got %s, %v, expected %s", c.parameter, c.text, got, err, c.want)
		}
	}
}

// Text is given as soon as it can't be the beginning of a marker.
func TestDeltasComeSoon(t *testing.T) {
	tmpl := compile(t, chatML+"{{ '<think></think><tool_call></tool_call>' if false }}")
	p := tmpl.Parser(weather(t))
	for _, c := range []struct{ in, content, reasoning string }{
		{"<th", "", ""}, {"ink>", "", ""}, {"\nI see", "", "I see"}, {" a ", "", " a"}, {"b<", "", " b"}, {"c", "", "<c"}, {"</think>", "", ""}, {"\n\n", "", ""},
		{"Hello", "Hello", ""}, {", you", ", you", ""}, {" <tool", "", ""}, {"s>", " <tools>", ""}, {" \n", "", ""}, {"!", " \n!", ""},
	} {
		var r result
		r.add(t, p.Push(c.in))
		if r.content != c.content || r.reasoning != c.reasoning {
			t.Errorf("%q: got %v, expected %q and %q", c.in, r, c.content, c.reasoning)
		}
	}
	if d := p.Finish(); d != nil {
		t.Errorf("Finish gave %+v", d)
	}
}
