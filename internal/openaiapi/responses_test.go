package openaiapi

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
)

// whole is a response but for what differs.
func whole(status, incomplete, output, usage string) string {
	return `{"created_at":0,"error":null,"id":"resp_","incomplete_details":` + incomplete + `,"instructions":null,"max_output_tokens":null,"metadata":{},"model":"m","object":"response","output":[` + output +
		`],"parallel_tool_calls":true,"previous_response_id":null,"status":"` + status + `","store":false,"temperature":1,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1,"truncation":"disabled","usage":` + usage + `}`
}

const (
	helloText = `{"annotations":[],"logprobs":[],"text":"hello","type":"output_text"}`
	usage26   = `{"input_tokens":21,"input_tokens_details":{"cached_tokens":10},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":26}`
)

func TestResponse(t *testing.T) {
	s := testServer(t, caller())
	_, body, _ := post(t, s, "/v1/responses", `{"model":"m","input":"hi"}`)
	check(t, masked(t, body), whole("completed", "null", `{"content":[`+helloText+`],"id":"msg_","role":"assistant","status":"completed","type":"message"}`, usage26))
	_, body, _ = post(t, s, "/v1/responses", `{"model":"m","input":"hi","max_output_tokens":2,"instructions":"be kind","metadata":{"a":"b"},"tools":[{"type":"function","name":"f"}],"tool_choice":"none","reasoning":{"effort":"low"}}`)
	for _, want := range []string{`"status":"incomplete"`, `"incomplete_details":{"reason":"max_output_tokens"}`, `"instructions":"be kind"`, `"metadata":{"a":"b"}`, `"tool_choice":"none"`, `"max_output_tokens":2`, `"text":"he"`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in %s", want, body)
		}
	}
}

func TestResponseStream(t *testing.T) {
	s := testServer(t, caller())
	_, body, _ := post(t, s, "/v1/responses", `{"model":"m","input":"hi","stream":true}`)
	list := events(t, body)
	item := func(status, content string) string {
		return `{"content":[` + content + `],"id":"msg_","role":"assistant","status":"` + status + `","type":"message"}`
	}
	empty := `{"annotations":[],"logprobs":[],"text":"","type":"output_text"}`
	want := []string{
		`{"response":` + whole("in_progress", "null", "", "null") + `,"sequence_number":0,"type":"response.created"}`,
		`{"response":` + whole("in_progress", "null", "", "null") + `,"sequence_number":1,"type":"response.in_progress"}`,
		`{"item":` + item("in_progress", "") + `,"output_index":0,"sequence_number":2,"type":"response.output_item.added"}`,
		`{"content_index":0,"item_id":"msg_","output_index":0,"part":` + empty + `,"sequence_number":3,"type":"response.content_part.added"}`,
		`{"content_index":0,"delta":"h","item_id":"msg_","logprobs":[],"output_index":0,"sequence_number":4,"type":"response.output_text.delta"}`,
	}
	check(t, strings.Join(list[:5], "\n"), strings.Join(want, "\n"))
	check(t, strings.Join(list[9:], "\n"), strings.Join([]string{
		`{"content_index":0,"item_id":"msg_","logprobs":[],"output_index":0,"sequence_number":9,"text":"hello","type":"response.output_text.done"}`,
		`{"content_index":0,"item_id":"msg_","output_index":0,"part":` + helloText + `,"sequence_number":10,"type":"response.content_part.done"}`,
		`{"item":` + item("completed", helloText) + `,"output_index":0,"sequence_number":11,"type":"response.output_item.done"}`,
		`{"response":` + whole("completed", "null", item("completed", helloText), usage26) + `,"sequence_number":12,"type":"response.completed"}`,
	}, "\n"))

	// Reasoning and calls are items of their own.
	_, body, _ = post(t, s, "/v1/responses", `{"model":"m","input":"call","tools":[{"type":"function","name":"f"}],"stream":true}`)
	var kinds []string
	for _, e := range events(t, body) {
		_, kind, _ := strings.Cut(e, `"type":"response.`)
		if i := strings.LastIndex(e, `"type":"response.`); i >= 0 {
			kind = strings.Trim(e[i+len(`"type":"response.`):], `"}`)
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
	}
	text := []string{"output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done", "output_item.done"}
	expected := append([]string{"created", "in_progress"}, strings.Split(strings.ReplaceAll(strings.Join(text, " "), "output_text", "reasoning_text"), " ")...)
	expected = append(append(expected, text...), "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done", "completed")
	check(t, strings.Join(kinds, " "), strings.Join(expected, " "))
	if !strings.Contains(body, `"arguments":"{\"x\": 1}"`) || !strings.Contains(body, `"reasoning_tokens":`) {
		t.Errorf("%s", body)
	}
}

// Probabilities come with each piece of the text, and all with the whole of it; what is
// thought or called has none.
func TestResponseLogprobs(t *testing.T) {
	s := testServer(t, caller())
	want := `"include":["message.output_text.logprobs"],"top_logprobs":1`
	var whole openai.Response
	_, body, _ := post(t, s, "/v1/responses", `{"model":"m","input":"hi",`+want+`}`)
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		t.Fatal(err)
	}
	part := whole.Output[0].Content[0]
	var text string
	for _, l := range part.Logprobs {
		text += l.Token
		if len(l.Top) != 1 {
			t.Errorf("%d alternatives of %q, expected 1", len(l.Top), l.Token)
		}
	}
	check(t, text, part.Text)
	if whole.TopLogprobs != 1 {
		t.Errorf("top_logprobs %d, expected 1", whole.TopLogprobs)
	}

	_, body, _ = post(t, s, "/v1/responses", `{"model":"m","input":"call","tools":[{"type":"function","name":"f"}],"stream":true,`+want+`}`)
	pieces, text := "", ""
	for _, e := range events(t, body) {
		var event openai.ResponseEvent
		if err := json.Unmarshal([]byte(e), &event); err != nil {
			t.Fatal(err)
		}
		for _, l := range event.Logprobs {
			if event.Type == "response.output_text.delta" {
				pieces += l.Token
			} else {
				text += l.Token
			}
		}
	}
	if text == "" || pieces != text {
		t.Errorf("pieces have the probabilities of %q, the whole those of %q", pieces, text)
	}
}

// A conversation goes on with what a response had; an error ends a stream.
func TestResponseInput(t *testing.T) {
	m := caller()
	s := testServer(t, m)
	_, _, _ = post(t, s, "/v1/responses", `{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"a"}]},`+
		`{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"b"}]},{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"c","annotations":[],"logprobs":[{"token":"c","bytes":[99],"logprob":-0.5,"top_logprobs":[]}]}]},`+
		`{"type":"function_call","call_id":"1","name":"f","arguments":"{\"y\":2}"},{"type":"function_call_output","call_id":"1","output":"d"},{"role":"developer","content":"e"}]}`)
	prompt := m.Tok.Decode(m.Requests()[0].Prompt, false)
	check(t, prompt, "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>b</think>c<tool_call>\n{\"name\": \"f\", \"arguments\": {\"y\": 2}}\n</tool_call><|im_end|>\n"+
		"<|im_start|>tool\nd<|im_end|>\n<|im_start|>system\ne<|im_end|>\n<|im_start|>assistant\n")
	m.Fail = errors.New("secret")
	_, body, _ := post(t, s, "/v1/responses", `{"model":"m","input":"hi","stream":true}`)
	list := events(t, body)
	if last := list[len(list)-1]; !strings.Contains(last, `"type":"error"`) || !strings.Contains(last, "its log says more") {
		t.Errorf("%s", last)
	}
}

func TestObject(t *testing.T) {
	for in, want := range map[string]string{`{"a":1}`: `{"a":1}`, `[1]`: `{"arguments":"[1]"}`, `{"a`: `{"arguments":"{\"a"}`, ``: `{"arguments":""}`, `null`: `{"arguments":"null"}`} {
		check(t, string(answer.Object(in)), want)
	}
}

// What the thin layers refuse, they refuse by name.
func TestLayersRefuse(t *testing.T) {
	s := testServer(t, caller())
	hi := `"messages":[{"role":"user","content":"hi"}]`
	for _, c := range []struct{ path, body, want string }{
		{"/api/chat", `{"model":"m",` + hi + `,"think":"much"}`, "think: expected true, false, low, medium or high"},
		{"/api/chat", `{"model":"m",` + hi + `,"format":{"type":"object"}}`, "format: it is not supported"},
		{"/api/chat", `{"model":"m",` + hi + `,"options":{"repeat_last_n":64,"repeat_penalty":1.1}}`, "options.repeat_last_n: penalties are over all tokens: with one, expected -1, found 64"},
		{"/api/chat", `{"model":"m",` + hi + `,"options":{"mirostat":2}}`, "options.mirostat: it is not supported"},
		{"/api/chat", `{"model":"m",` + hi + `,"options":{"num_predict":0}}`, "options.num_predict: expected at least 1, or -1"},
		{"/api/chat", `{"model":"m","messages":[{"content":"hi"}]}`, "messages[0]: expected a role"},
		{"/api/chat", `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{}}]}]}`, "messages[0].tool_calls[0]: expected the function's name"},
		{"/api/generate", `{"model":"m","prompt":"x","raw":true,"system":"y"}`, "system: a raw prompt has no system message"},
		{"/api/embed", `{"model":"e","input":[]}`, "input: expected a text"},
		{"/api/embed", `{"model":"e","input":"x","options":{"heat":1}}`, "options.heat: there is no such field"},
		{"/api/embeddings", `{"model":"e"}`, "prompt: expected a text"},
		{"/api/show", `{"model":"nobody"}`, "not found"},
		{"/api/pull", `{"model":"x"}`, "nothing at /api/pull; there are /api/chat, /api/generate"},
		{"/v1/messages", `{"model":"m","max_tokens":1,` + hi + `,"tool_choice":{"type":"any"}}`, "tool_choice: expected the type auto or none"},
		{"/v1/messages", `{"model":"m","max_tokens":1,` + hi + `,"tools":[{"type":"web_search_20250305","name":"web_search"}]}`, "tools[0]: expected the type custom"},
		{"/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[]}]}`, "messages[0].content: expected at least one block"},
		{"/v1/messages", `{"model":"m","max_tokens":1,"messages":[{"role":"system","content":"x"}]}`, "messages[0].role: expected user, assistant"},
		{"/v1/responses", `{"model":"m","input":[{"type":"item_reference","id":"x"}]}`, "input[0]: expected an item of the type"},
		{"/v1/responses", `{"model":"m","input":[{"type":"function_call","call_id":"1","name":"f","arguments":"no"}]}`, "input[0].arguments: expected a JSON object"},
		{"/v1/responses", `{"model":"m","input":[{"role":"user"}]}`, "input[0]: expected a role and content"},
		{"/v1/responses", `{"model":"m"}`, "input: expected a text"},
		{"/v1/responses", `{"model":"m","input":"x","top_logprobs":2}`, "top_logprobs: it needs \"message.output_text.logprobs\" in include"},
		{"/detokenize", `{"model":"m"}`, "tokens: expected an array"},
		{"/detokenize", `{"model":"m","tokens":[1,-2]}`, "tokens[1]: expected an integer of at least 0, found -2"},
		{"/detokenize", `{"model":"m","tokens":[null]}`, "tokens[0]: expected a number, found null"},
		{"/tokenize", `{"model":"m","prompt":"x",` + hi + `}`, "prompt: expected either prompt or messages"},
		{"/v1/completions", `{"model":"m","prompt":"x","logit_bias":{"x":1}}`, "logit_bias.x: expected a token id"},
		{"/v1/completions", `{"model":"m","prompt":"x","stop_token_ids":[999]}`, "stop_token_ids: this model has 260 tokens"},
		{"/v1/completions", `{"model":"m","prompt":"x","min_tokens":9,"max_tokens":3}`, "min_tokens: expected at most max_tokens (3)"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"assistant","content":"x","tool_calls":[{"type":"function","function":{"name":"f","arguments":"no"}}]}]}`, "arguments: expected a JSON object"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x","tool_calls":[{"type":"function","function":{"name":"f"}}]}]}`, "only an assistant calls tools"},
		{"/v1/chat/completions", `{"model":"m",` + hi + `,"chat_template_kwargs":{"messages":[]}}`, "set by the conversation"},
		{"/v1/chat/completions", `{"model":"m",` + hi + `,"reasoning_effort":"much"}`, "reasoning_effort: expected one of none"},
		{"/v1/rerank", `{"model":"e","query":"","documents":["x"]}`, "query: expected a text"},
		{"/v1/rerank", `{"model":"m","query":"x","documents":["x"]}`, "no model for reranking"},
	} {
		status, body, _ := post(t, s, c.path, c.body)
		if status < 400 || status >= 500 || !strings.Contains(strings.ReplaceAll(body, `\"`, `"`), c.want) {
			t.Errorf("%s %s: %d %s\nexpected %s", c.path, c.body, status, body, c.want)
		}
	}
}
