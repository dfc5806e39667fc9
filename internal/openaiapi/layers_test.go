package openaiapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/textgen"
)

// caller answers "call" with a call of a tool, and else with "hello".
func caller() *servetest.Text {
	m := servetest.NewText()
	m.Answer = func(prompt string, _ int) string {
		if strings.Contains(prompt[strings.LastIndex(prompt, "<|im_start|>user")+1:], "call") {
			return "<think>hm</think>ok\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"
		}
		return "hello"
	}
	return m
}

var times = regexp.MustCompile(`"(created_at|modified_at)":"[^"]*"`)

func TestOllama(t *testing.T) {
	s := testServer(t, caller())
	for _, c := range []struct{ path, body, want string }{
		{"/api/chat", `{"model":"m:latest","messages":[{"role":"user","content":"hi"}],"stream":false}`,
			`{"created_at":"","done":true,"done_reason":"stop","eval_count":5,"eval_duration":2000000,"load_duration":0,"message":{"content":"hello","role":"assistant"},"model":"m:latest","prompt_eval_count":21,"prompt_eval_duration":1000000,"total_duration":3000000}`},
		{"/api/chat", `{"model":"m","messages":[{"role":"user","content":"call"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"stream":false,"options":{"num_predict":99}}`,
			`{"created_at":"","done":true,"done_reason":"stop","eval_count":81,"eval_duration":2000000,"load_duration":0,"message":{"content":"ok","role":"assistant","thinking":"hm","tool_calls":[{"function":{"arguments":{"x":1},"name":"f"},"id":"call_"}]},"model":"m","prompt_eval_count":399,"prompt_eval_duration":1000000,"total_duration":3000000}`},
		{"/api/generate", `{"model":"m","prompt":"hi","stream":false,"options":{"num_predict":2}}`,
			`{"created_at":"","done":true,"done_reason":"length","eval_count":2,"eval_duration":2000000,"load_duration":0,"model":"m","prompt_eval_count":21,"prompt_eval_duration":1000000,"response":"he","total_duration":3000000}`},
		{"/api/generate", `{"model":"m"}`, `{"created_at":"","done":true,"done_reason":"load","model":"m","response":""}`},
		{"/api/chat", `{"model":"nobody","messages":[]}`, `{"error":"model: no model is called \"nobody\"; ready are [\"e\" \"m\" \"t\"]"}`},
		{"/api/chat", `{"model":"m","messages":[{"role":"user","content":"x","images":["x"]}]}`, `{"error":"messages[0].images: it is not supported: models here read text only"}`},
		{"/api/generate", `{"model":"m","prompt":"x","stream":false,"options":{"num_ctx":9999}}`, `{"created_at":"","done":true,"done_reason":"stop","eval_count":5,"eval_duration":2000000,"load_duration":0,"model":"m","prompt_eval_count":20,"prompt_eval_duration":1000000,"response":"hello","total_duration":3000000}`},
		{"/api/embeddings", `{"model":"e","prompt":"ab"}`, `{"embedding":[3,256,0,0]}`},
		{"/api/embed", `{"model":"e","input":"ab","truncate":true,"options":{"num_ctx":512}}`, `{"embeddings":[[3,256,0,0]],"load_duration":0,"model":"e","prompt_eval_count":3,"total_duration":0}`},
		{"/api/show", `{"model":"m"}`, `{"capabilities":["completion","tools"],"details":{"families":["fake"],"family":"fake","format":"","parameter_size":"1.0M","parent_model":"","quantization_level":""},"model_info":{"fake.context_length":2048,"fake.vocab_size":260,"general.architecture":"fake","general.parameter_count":1000000},"modified_at":""}`},
	} {
		_, body, _ := post(t, s, c.path, c.body)
		body = regexp.MustCompile(`("embeddings".*"total_duration"):\d+`).ReplaceAllString(times.ReplaceAllString(body, `"$1":""`), "$1:0")
		check(t, masked(t, body), c.want)
	}
	_, body, h := post(t, s, "/api/generate", `{"model":"m","prompt":"say hi"}`)
	lines := strings.Split(strings.TrimSpace(body), "\n")
	var text string
	for _, l := range lines {
		var p struct{ Response string }
		if err := json.Unmarshal([]byte(l), &p); err != nil {
			t.Fatal(err)
		}
		text += p.Response
	}
	if text != "hello" || len(lines) != 6 || !strings.Contains(lines[5], `"done":true,"done_reason":"stop"`) || h.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%s", body)
	}
	r, err := http.Get(s.URL + "/api/tags")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(b), `"name":"m","model":"m"`) || strings.Contains(string(b), `"name":"t"`) {
		t.Errorf("%s", b)
	}
}

func TestAnthropic(t *testing.T) {
	m := caller()
	s := testServer(t, m)
	for _, c := range []struct{ body, want string }{
		{`{"model":"m","max_tokens":50,"system":"be kind","messages":[{"role":"user","content":"hi"}]}`,
			`{"content":[{"text":"hello","type":"text"}],"id":"msg_","model":"m","role":"assistant","stop_reason":"end_turn","stop_sequence":null,"type":"message","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":19,"input_tokens":19,"output_tokens":5}}`},
		{`{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"call"}],"tools":[{"name":"f","input_schema":{}}]}`,
			`{"content":[{"signature":"","thinking":"hm","type":"thinking"},{"text":"ok","type":"text"},{"id":"call_","input":{"x":1},"name":"f","type":"tool_use"}],"id":"msg_","model":"m","role":"assistant","stop_reason":"tool_use","stop_sequence":null,"type":"message","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":199,"input_tokens":200,"output_tokens":81}}`},
		{`{"model":"m","max_tokens":9,"stop_sequences":["ll"],"messages":[{"role":"user","content":"hi"}]}`,
			`{"content":[{"text":"he","type":"text"}],"id":"msg_","model":"m","role":"assistant","stop_reason":"stop_sequence","stop_sequence":"ll","type":"message","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":10,"input_tokens":11,"output_tokens":2}}`},
		{`{"model":"m","messages":[{"role":"user","content":"hi"}]}`, `{"error":{"message":"max_tokens: expected an integer of at least 1, found none","type":"invalid_request_error"},"type":"error"}`},
		{`{"model":"nobody","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, `{"error":{"message":"model: no model is called \"nobody\"; ready are [\"e\" \"m\" \"t\"]","type":"not_found_error"},"type":"error"}`},
		{`{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{}}]}]}`, `{"error":{"message":"messages[0].content[0]: expected a block that a message of the role user can have, found the type \"image\"","type":"invalid_request_error"},"type":"error"}`},
	} {
		_, body, _ := post(t, s, "/v1/messages", c.body)
		check(t, masked(t, body), c.want)
	}
	// The results of tools become messages of their own, behind the call.
	post(t, s, "/v1/messages", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"text","text":"b"},{"type":"tool_use","id":"1","name":"f","input":{"y":2}}]},`+
		`{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"c"},{"type":"text","text":"d"}]},{"role":"assistant","content":"I say"}]}`)
	all := m.Requests()
	prompt := m.Tok.Decode(all[len(all)-1].Prompt, false)
	if want := "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<tool_call>\n{\"name\": \"f\", \"arguments\": {\"y\": 2}}\n</tool_call><|im_end|>\n<|im_start|>tool\nc<|im_end|>\n<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\nI say"; prompt != want {
		t.Errorf("%q\nwant %q", prompt, want)
	}
	_, body, _ := post(t, s, "/v1/messages", `{"model":"m","max_tokens":2,"messages":[{"role":"user","content":"hi"}],"stream":true}`)
	check(t, strings.Join(events(t, body), "\n"), strings.Join([]string{
		`{"message":{"content":[],"id":"msg_","model":"m","role":"assistant","stop_reason":null,"stop_sequence":null,"type":"message","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"input_tokens":21,"output_tokens":0}},"type":"message_start"}`,
		`{"content_block":{"text":"","type":"text"},"index":0,"type":"content_block_start"}`,
		`{"delta":{"text":"h","type":"text_delta"},"index":0,"type":"content_block_delta"}`,
		`{"delta":{"text":"e","type":"text_delta"},"index":0,"type":"content_block_delta"}`,
		`{"index":0,"type":"content_block_stop"}`,
		`{"delta":{"stop_reason":"max_tokens","stop_sequence":null},"type":"message_delta","usage":{"cache_creation_input_tokens":0,"cache_read_input_tokens":10,"input_tokens":11,"output_tokens":2}}`,
		`{"type":"message_stop"}`}, "\n"))
	_, body, _ = post(t, s, "/v1/messages/count_tokens", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
	check(t, body, `{"input_tokens":21}`)
}

func TestGenerate(t *testing.T) {
	m := servetest.NewText()
	s := testServer(t, m)
	for _, c := range []struct{ path, body, want string }{
		{"/v2/models/m/generate", `{"text_input":"say hi","id":"7","parameters":{"max_tokens":9,"stream":false},"temperature":0.25}`, `{"id":"7","model_name":"m","model_version":"1","text_output":" hi"}`},
		{"/v2/models/m/versions/1/generate", `{"text_input":"say hi","parameters":{"exclude_input_in_output":false,"stop_words":["i"]}}`, `{"model_name":"m","model_version":"1","text_output":"say hi h"}`},
		{"/v2/models/m/generate", `{"text_input":"say hi","max_tokens":9,"bad_words":"","stop_words":"","random_seed":3,"beam_width":1}`, `{"model_name":"m","model_version":"1","text_output":" hi"}`},
		{"/v2/models/m/generate", `{"text_input":"x","parameters":{"heat":1}}`, `{"error":"parameters.heat: there is no such field"}`},
		{"/v2/models/t/generate", `{"text_input":"x"}`, `{"error":"model: model \"t\" is no language model"}`},
	} {
		_, body, _ := post(t, s, c.path, c.body)
		check(t, body, c.want)
	}
	if r := m.Requests()[0]; r.Temperature != 0.25 || r.MaxTokens != 9 {
		t.Errorf("%+v", r)
	}
	_, body, h := post(t, s, "/v2/models/m/generate_stream", `{"text_input":"say hi","parameters":{"max_tokens":2}}`)
	if want := `data: {"model_name":"m","model_version":"1","text_output":" "}` + "\n\n" + `data: {"model_name":"m","model_version":"1","text_output":"h"}` + "\n\n"; body != want || !strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		t.Errorf("%v %q", h, body)
	}
	m.Fail = errors.New("secret")
	_, body, _ = post(t, s, "/v2/models/m/generate_stream", `{"text_input":"say something"}`)
	if !strings.HasSuffix(body, "data: {\"error\":\"the server failed to answer this request; its log says more\"}\n\n") {
		t.Errorf("%q", body)
	}
}

// What is not given is as the model suggests; if it suggests nothing, as the protocol's users expect.
func TestDefaults(t *testing.T) {
	for _, c := range []struct {
		defaults textgen.Sampling
		path     string
		body     string
		want     textgen.Sampling
	}{
		{textgen.Sampling{}, "/v1/completions", `"prompt":"x"`, textgen.Sampling{Temperature: 1}},
		{textgen.Sampling{}, "/api/generate", `"prompt":"x"`, textgen.Sampling{Temperature: 0.8}},
		{textgen.Sampling{Temperature: 0.6, TopK: 20}, "/v1/completions", `"prompt":"x"`, textgen.Sampling{Temperature: 0.6, TopK: 20}},
		{textgen.Sampling{Temperature: 0.6, TopK: 20}, "/v1/completions", `"prompt":"x","temperature":0,"top_k":-1,"min_p":0.5`, textgen.Sampling{MinP: 0.5}},
		{textgen.Sampling{}, "/v1/completions", `"prompt":"x","top_p":0`, textgen.Sampling{Temperature: 1, TopK: 1}},
	} {
		m := servetest.NewText()
		m.Defaults = c.defaults
		s := testServer(t, m)
		if status, body, _ := post(t, s, c.path, `{"model":"m",`+c.body+`}`); status != 200 {
			t.Fatal(body)
		}
		got := m.Requests()[0].Sampling
		if got.Temperature != c.want.Temperature || got.TopK != c.want.TopK || got.TopP != c.want.TopP || got.MinP != c.want.MinP {
			t.Errorf("%s: %+v, want %+v", c.body, got, c.want)
		}
	}
}

// Words reach the client when they are made, not when the answer is complete.
func TestFirstTokenAtOnce(t *testing.T) {
	m := servetest.NewText()
	read, client := make(chan struct{}), http.Client{Timeout: 30 * time.Second}
	goOn := sync.OnceFunc(func() { close(read) })
	defer goOn()
	m.Before = func(token int) {
		if token == 1 {
			<-read
		}
	}
	m.Answer = func(string, int) string { return "abcdefghij" }
	s := testServer(t, m)
	r, err := client.Post(s.URL+"/v1/completions", "", strings.NewReader(`{"model":"m","prompt":"x","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := r.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	goOn() // the second token is made only now
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		t.Fatal(err)
	}
}
