package openaiapi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/serve/servetest"
)

const twoCalls = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 2}}\n</tool_call>"

// What clients and the frameworks on them send by default, or when a user sets
// what every server has, is no error.
func TestAccepted(t *testing.T) {
	s := testServer(t, caller())
	hi := `"model":"m","messages":[{"role":"user","content":"hi"}]`
	claude := `"model":"m","max_tokens":32,"messages":[{"role":"user","content":"hi"}]`
	for _, c := range []struct{ path, body string }{
		{"/v1/chat/completions", hi + `,"store":true,"tools":[{"type":"function","function":{"name":"f","strict":true,"parameters":{"type":"object","properties":{},"additionalProperties":false}}}]`},
		{"/v1/chat/completions", hi + `,"reasoning_effort":"max","parallel_tool_calls":false,"tool_choice":"auto"`},
		{"/v1/chat/completions", `"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]`},
		{"/v1/chat/completions", `"model":"m","messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":""}}]},{"role":"tool","tool_call_id":"1","content":"x"}]`},
		{"/v1/responses", `"model":"m","input":"hi","stream":true,"stream_options":{"include_usage":true},"store":true,"include":["reasoning.encrypted_content"],"reasoning":{"effort":"high","summary":"detailed"},"parallel_tool_calls":false,"tools":[{"type":"function","name":"f","strict":true,"parameters":{}}]`},
		{"/v1/messages", claude + `,"thinking":{"type":"enabled","budget_tokens":1024},"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"output_config":{"effort":"high"}`},
		{"/v1/messages", claude + `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"tools":[{"name":"f","input_schema":{},"strict":true,"eager_input_streaming":true,"cache_control":{"type":"ephemeral"}}]`},
		{"/api/chat", hi + `,"stream":false,"options":{"repeat_last_n":64,"repeat_penalty":1,"num_ctx":131072,"num_keep":4,"num_predict":-2,"mirostat":0,"mirostat_tau":5,"mirostat_eta":0.1,"low_vram":false,"f16_kv":true,"use_mlock":false}`},
	} {
		if status, body, _ := post(t, s, c.path, "{"+c.body+"}"); status != 200 {
			t.Errorf("%s %s: %d %s", c.path, c.body, status, body)
		}
	}
}

// One call of a tool is what there is where calls beside each other are not wanted.
func TestOneCall(t *testing.T) {
	m := servetest.NewText()
	m.Answer = func(string, int) string { return twoCalls }
	s := testServer(t, m)
	for _, c := range []struct{ path, body, only string }{
		{"/v1/chat/completions", `"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}]`, `"parallel_tool_calls":false`},
		{"/v1/responses", `"input":"x","tools":[{"type":"function","name":"f"}]`, `"parallel_tool_calls":false`},
		{"/v1/messages", `"max_tokens":500,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"f","input_schema":{}}]`, `"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`},
	} {
		for _, stream := range []string{"", `,"stream":true`} {
			for only, want := range map[string][2]bool{"": {true, true}, "," + c.only: {true, false}} {
				status, body, _ := post(t, s, c.path, `{"model":"m",`+c.body+only+stream+`}`)
				body = strings.ReplaceAll(body, `\"`, `"`)
				got := [2]bool{strings.Contains(body, `"x": 1}`) || strings.Contains(body, `"x":1}`), strings.Contains(body, `"x": 2}`) || strings.Contains(body, `"x":2}`)}
				if status != 200 || got != want {
					t.Errorf("%s %s%s: %d, found the calls %v, expected %v\n%s", c.path, only, stream, status, got, want, body)
				}
			}
		}
	}
	// The answer says so, and why it ended.
	_, body, _ := post(t, s, "/v1/responses", `{"model":"m","input":"x","parallel_tool_calls":false}`)
	var r struct {
		Parallel bool `json:"parallel_tool_calls"`
		Store    bool
	}
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Parallel || r.Store {
		t.Errorf("%v %s", err, body)
	}
	_, body, _ = post(t, s, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f"}}],"parallel_tool_calls":false}`)
	if !strings.Contains(body, `"finish_reason":"tool_calls"`) {
		t.Errorf("%s", body)
	}
}
