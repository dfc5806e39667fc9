package openaiapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/textgen"
)

var testLog *slog.Logger // of the next testServer; nil discards

// testServer serves a language model "m", an encoder "e" and a model of tensors "t".
func testServer(t testing.TB, m *servetest.Text) *httptest.Server {
	t.Helper()
	core := serve.New(serve.Options{})
	for name, b := range map[string]serve.Backend{"m": m, "e": servetest.NewEncoder(), "t": servetest.Identity(2)} {
		if err := core.Register(name, 1, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(rest.New(core, rest.Options{APIs: APIs(core, Options{Version: "v1", Log: testLog}), InFlight: &limit.InFlight{Max: 64}, MaxBody: 1 << 20}))
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := core.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// post sends JSON and gives the status and the whole answer.
func post(t *testing.T, s *httptest.Server, path, body string) (int, string, http.Header) {
	t.Helper()
	r, err := http.Post(s.URL+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

// masked hides what differs from run to run.
func masked(t *testing.T, answer string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(answer), &v); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	mask(v)
	b, _ := json.Marshal(v)
	return string(b)
}

func mask(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			switch e.(type) {
			case string:
				if i := strings.IndexAny(e.(string), "-_"); (k == "id" || k == "item_id" || k == "call_id") && i > 0 {
					v[k] = e.(string)[:i+1]
				}
			case float64:
				if k == "created" || k == "created_at" {
					v[k] = 0
				}
			}
			mask(e)
		}
	case []any:
		for _, e := range v {
			mask(e)
		}
	}
}

// events splits a stream of server-sent events.
func events(t *testing.T, body string) []string {
	t.Helper()
	var list []string
	for e := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		var data string
		for line := range strings.SplitSeq(e, "\n") {
			if d, ok := strings.CutPrefix(line, "data: "); ok {
				data = d
			}
		}
		if data != "[DONE]" {
			data = masked(t, data)
		}
		list = append(list, data)
	}
	return list
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCompletion(t *testing.T) {
	s := testServer(t, servetest.NewText())
	for _, c := range []struct{ body, want string }{
		{`{"model":"m","prompt":"say hi"}`, `{"choices":[{"finish_reason":"stop","index":0,"logprobs":null,"text":" hi"}],"created":0,"id":"cmpl-","model":"m","object":"text_completion",` +
			`"usage":{"completion_tokens":3,"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":3},"total_tokens":10}}`},
		{`{"model":"m:1","prompt":["a","b"],"n":2,"max_tokens":3}`, `{"choices":[{"finish_reason":"stop","index":0,"logprobs":null,"text":" a"},{"finish_reason":"length","index":1,"logprobs":null,"text":" a!"},` +
			`{"finish_reason":"stop","index":2,"logprobs":null,"text":" b"},{"finish_reason":"length","index":3,"logprobs":null,"text":" b!"}],"created":0,"id":"cmpl-","model":"m:1","object":"text_completion",` +
			`"usage":{"completion_tokens":10,"prompt_tokens":4,"prompt_tokens_details":{"cached_tokens":2},"total_tokens":14}}`},
		{`{"model":"m","prompt":[[104,105]],"stop":"i","echo":true}`, `{"choices":[{"finish_reason":"stop","index":0,"logprobs":null,"stop_reason":"i","text":"hi h"}],"created":0,"id":"cmpl-","model":"m","object":"text_completion",` +
			`"usage":{"completion_tokens":2,"prompt_tokens":2,"prompt_tokens_details":{"cached_tokens":1},"total_tokens":4}}`},
		{`{"model":"m","prompt":[104,105],"echo":true,"max_tokens":0,"logprobs":1}`, `{"choices":[{"finish_reason":"length","index":0,"logprobs":{"text_offset":[0,1],"token_logprobs":[null,-0.6931472],"tokens":["h","i"],"top_logprobs":[null,{"i":-0.6931472}]},"text":"hi"}],"created":0,"id":"cmpl-","model":"m","object":"text_completion",` +
			`"usage":{"completion_tokens":0,"prompt_tokens":2,"prompt_tokens_details":{"cached_tokens":1},"total_tokens":2}}`},
		{`{"model":"m","prompt":[104,195,105,195,169],"echo":true,"max_tokens":0,"logprobs":0}`, `{"choices":[{"finish_reason":"length","index":0,"logprobs":{"text_offset":[0,1,2,3,3],"token_logprobs":[null,-0.6931472,-0.6931472,-0.6931472,-0.6931472],` +
			`"tokens":["h","�","i","�","�"],"top_logprobs":[null,{"�":-0.6931472},{"i":-0.6931472},{"�":-0.6931472},{"�":-0.6931472}]},"text":"h�ié"}],"created":0,"id":"cmpl-","model":"m","object":"text_completion",` +
			`"usage":{"completion_tokens":0,"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":2},"total_tokens":5}}`},
		{`{"model":"m","prompt":"x é","logprobs":2,"max_tokens":3,"echo":false}`, `{"choices":[{"finish_reason":"length","index":0,"logprobs":{"text_offset":[0,1,1],"token_logprobs":[-0.6931472,-0.6931472,-0.6931472],"tokens":[" ","�","�"],` +
			`"top_logprobs":[{" ":-0.6931472,"!":-1.3862944},{"C":-0.6931472,"D":-1.3862944,"�":-0.6931472},{")":-0.6931472,"*":-1.3862944,"�":-0.6931472}]},"text":" é"}],"created":0,"id":"cmpl-","model":"m","object":"text_completion",` +
			`"usage":{"completion_tokens":3,"prompt_tokens":5,"prompt_tokens_details":{"cached_tokens":2},"total_tokens":8}}`},
	} {
		status, body, _ := post(t, s, "/v1/completions", c.body)
		if status != 200 {
			t.Errorf("%s: %d %s", c.body, status, body)
			continue
		}
		check(t, masked(t, body), c.want)
	}
}

func TestCompletionStream(t *testing.T) {
	s := testServer(t, servetest.NewText())
	status, body, header := post(t, s, "/v1/completions", `{"model":"m","prompt":"é","stream":true,"stream_options":{"include_usage":true},"max_tokens":3}`)
	if status != 200 || header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		t.Fatalf("%d %v %s", status, header, body)
	}
	piece := func(text, finish string) string {
		return `{"choices":[{"finish_reason":` + finish + `,"index":0,"logprobs":null,"text":"` + text + `"}],"created":0,"id":"cmpl-","model":"m","object":"text_completion"}`
	}
	check(t, strings.Join(events(t, body), "\n"), strings.Join([]string{piece(" ", "null"), piece("", "null"), piece("é", `"length"`),
		`{"choices":[],"created":0,"id":"cmpl-","model":"m","object":"text_completion","usage":{"completion_tokens":3,"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1},"total_tokens":6}}`, "[DONE]"}, "\n"))
}

func TestChat(t *testing.T) {
	m := servetest.NewText()
	m.Answer = func(string, int) string {
		return "<think>hm</think>ok\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"
	}
	s := testServer(t, m)
	tools := `"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]`
	request := `{"model":"m","messages":[{"role":"user","content":"hi"}],` + tools
	status, body, _ := post(t, s, "/v1/chat/completions", request+"}")
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	check(t, masked(t, body), `{"choices":[{"finish_reason":"tool_calls","index":0,"logprobs":null,"message":{"content":"ok","reasoning_content":"hm","refusal":null,"role":"assistant",`+
		`"tool_calls":[{"function":{"arguments":"{\"x\": 1}","name":"f"},"id":"call_","type":"function"}]},"stop_reason":null}],"created":0,"id":"chatcmpl-","model":"m","object":"chat.completion",`+
		`"usage":{"completion_tokens":81,"completion_tokens_details":{"reasoning_tokens":10},"prompt_tokens":413,"prompt_tokens_details":{"cached_tokens":206},"total_tokens":494}}`)
	if got := m.Requests()[0]; got.Temperature != 1 || got.MaxTokens != 0 || got.Logprobs != -1 || !strings.HasSuffix(m.Tok.Decode(got.Prompt, false), "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n") {
		t.Errorf("%+v", got)
	}
	// In pieces it is the same.
	status, body, _ = post(t, s, "/v1/chat/completions", request+`,"stream":true,"logprobs":true}`)
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	var content, reasoning, name, arguments, finish string
	logprobs := 0
	list := events(t, body)
	for i, e := range list[:len(list)-1] {
		var c struct {
			Choices []struct {
				Delta struct {
					Role, Content string
					Reasoning     string `json:"reasoning_content"`
					Calls         []struct {
						Index    int
						ID, Type string
						Function struct{ Name, Arguments string }
					} `json:"tool_calls"`
				}
				Logprobs struct{ Content []json.RawMessage }
				Finish   string `json:"finish_reason"`
			}
		}
		if err := json.Unmarshal([]byte(e), &c); err != nil {
			t.Fatal(err)
		}
		d := c.Choices[0].Delta
		if (d.Role == "assistant") != (i == 0) {
			t.Errorf("event %d: %s", i, e)
		}
		content += d.Content
		reasoning += d.Reasoning
		for _, call := range d.Calls {
			if (call.ID == "call_" && call.Type == "function") != (name == "") {
				t.Errorf("a call without an id, or with two: %s", e)
			}
			name += call.Function.Name
			arguments += call.Function.Arguments
		}
		finish += c.Choices[0].Finish
		logprobs += len(c.Choices[0].Logprobs.Content)
	}
	if list[len(list)-1] != "[DONE]" || content != "ok" || reasoning != "hm" || name != "f" || arguments != `{"x": 1}` || finish != "tool_calls" || logprobs != 81 {
		t.Errorf("%q %q %q %q %q %d\n%s", content, reasoning, name, arguments, finish, logprobs, body)
	}
}

func TestErrors(t *testing.T) {
	s := testServer(t, servetest.NewText())
	chat := func(more string) string {
		return `{"model":"m","messages":[{"role":"user","content":"hi"}]` + more + `}`
	}
	for _, c := range []struct {
		path, body        string
		status            int
		param, code, text string
	}{
		{"/v1/chat/completions", `{`, 400, "", "", "expected a JSON object"},
		{"/v1/chat/completions", chat(`,"temprature":1`), 400, "temprature", "", "there is no such field"},
		{"/v1/chat/completions", chat(`,"temperature":3`), 400, "temperature", "", "from 0 to 2"},
		{"/v1/chat/completions", chat(`,"n":1000000000`), 400, "n", "", "from 1 to 128"},
		{"/v1/chat/completions", chat(`,"stop":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]`), 400, "stop", "", "at most 16"},
		{"/v1/chat/completions", chat(`,"response_format":{"type":"json_object"}`), 400, "response_format", "", "can't be constrained"},
		{"/v1/chat/completions", chat(`,"tool_choice":"required"`), 400, "tool_choice", "", "can't be forced"},
		{"/v1/chat/completions", chat(`,"top_logprobs":2`), 400, "top_logprobs", "", "needs logprobs"},
		{"/v1/chat/completions", chat(`,"logit_bias":{"5000":1}`), 400, "logit_bias", "", "260 tokens"},
		{"/v1/chat/completions", chat(`,"stream_options":{"include_usage":true}`), 400, "stream_options", "", "needs stream"},
		{"/v1/chat/completions", chat(`,"max_tokens":1,"max_completion_tokens":2`), 400, "max_tokens", "", "contradicts"},
		{"/v1/chat/completions", chat(`,"n":2,"best_of":1`), 400, "best_of", "", "at least n"},
		{"/v1/chat/completions", `{"model":"m"}`, 400, "messages", "", "at least one message"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`, 400, "messages[0].content[0]", "", "expected the type text"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"robot","content":"x"}]}`, 400, "messages[0].role", "", "expected system"},
		{"/v1/chat/completions", `{"model":"m","messages":[{"role":"user"}]}`, 400, "messages[0]", "", "expected content"},
		{"/v1/chat/completions", `{"model":"","messages":[{"role":"user","content":"x"}]}`, 400, "model", "", "expected the name"},
		{"/v1/chat/completions", `{"model":"nobody","messages":[{"role":"user","content":"x"}]}`, 404, "model", "model_not_found", "no model is called"},
		{"/v1/chat/completions", `{"model":"t","messages":[{"role":"user","content":"x"}]}`, 400, "model", "", "no language model"},
		{"/v1/completions", `{"model":"m","prompt":"` + strings.Repeat("x", 3000) + `"}`, 400, "", "context_length_exceeded", "3001 tokens"},
		{"/v1/completions", `{"model":"m","prompt":[9999]}`, 400, "prompt", "", "260 tokens"},
		{"/v1/completions", `{"model":"m","prompt":[]}`, 400, "prompt", "", "at least one"},
		{"/v1/completions", `{"model":"m","prompt":["a","b"],"n":100}`, 400, "n", "", "at most 128 answers"},
		{"/v1/completions", `{"model":"m","prompt":"x","suffix":"y"}`, 400, "suffix", "", "gaps"},
		{"/v1/completions", `{"model":"m","prompt":"x","best_of":3,"stream":true}`, 400, "best_of", "", "at the end only"},
		{"/v1/completions", `{"model":"m","prompt":"x","max_tokens":0}`, 400, "max_tokens", "", "echo"},
		{"/v1/completions", "{\"model\":\"m\",\"prompt\":\"\xff\"}", 400, "", "", "expected UTF-8"},
		{"/v1/embeddings", `{"model":"m","input":"x"}`, 400, "model", "", "no model for embeddings"},
		{"/v1/embeddings", `{"model":"e","input":["x",""]}`, 400, "input[1]", "", "empty"},
		{"/v1/embeddings", `{"model":"e","input":"x","dimensions":2}`, 400, "dimensions", "", "4 dimensions"},
		{"/v1/embeddings", `{"model":"e","input":"` + strings.Repeat("x", 3000) + `"}`, 400, "", "context_length_exceeded", "3001 tokens"},
		{"/v1/responses", `{"model":"m","input":"x","previous_response_id":"resp_1"}`, 400, "previous_response_id", "", "nothing is stored"},
		{"/v1/responses", `{"model":"m","input":"x","tools":[{"type":"web_search"}]}`, 400, "tools[0]", "", "expected the type function"},
		{"/v1/nothing", `{}`, 404, "", "", "nothing at"},
		{"/v1/completions", strings.Repeat(" ", 1<<20+1), 413, "", "", "at most"},
	} {
		status, body, _ := post(t, s, c.path, c.body)
		var e struct {
			Error struct {
				Message, Type string
				Param, Code   *string
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatalf("%s: %s", c.body, body)
		}
		if status != c.status || text(e.Error.Param) != c.param || text(e.Error.Code) != c.code || !strings.Contains(e.Error.Message, c.text) || e.Error.Type != "invalid_request_error" {
			t.Errorf("%s %.80s: %d %s", c.path, c.body, status, body)
		}
	}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// What the engine refuses has its status, whether or not a stream was asked for;
// what fails later ends the stream with an error.
func TestEngineErrors(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{&textgen.FullError{Waiting: 9, RetryAfter: 1500 * time.Millisecond}, 429, "9 requests are waiting"},
		{textgen.TooLong(9, 8), 400, `"code":"context_length_exceeded"`},
		{&textgen.RequestError{Field: "logit_bias", Message: "no"}, 400, `"param":"logit_bias"`},
		{textgen.ErrClosed, 503, "being unloaded"},
		{errors.New("a secret"), 500, "its log says more"},
	} {
		m := servetest.NewText()
		m.Refuse = c.err
		s := testServer(t, m)
		for _, stream := range []string{"true", "false"} {
			for path, body := range map[string]string{
				"/v1/completions": `"prompt":"x"`, "/v1/chat/completions": `"messages":[{"role":"user","content":"x"}]`, "/v1/responses": `"input":"x"`,
			} {
				status, body, h := post(t, s, path, `{"model":"m",`+body+`,"stream":`+stream+`}`)
				if status != c.status || !strings.Contains(body, c.want) {
					t.Errorf("%s: %d %s", path, status, body)
				}
				if status == 429 && h.Get("Retry-After") != "2" {
					t.Errorf("Retry-After: %q", h.Get("Retry-After"))
				}
			}
		}
	}
	m := servetest.NewText()
	m.Fail = errors.New("a secret")
	s := testServer(t, m)
	status, body, _ := post(t, s, "/v1/completions", `{"model":"m","prompt":"say something","stream":true}`)
	list := events(t, body)
	if status != 200 || len(list) != 4 || !strings.Contains(list[3], `"type":"server_error"`) || strings.Contains(body, "secret") {
		t.Errorf("%d %s", status, body)
	}
	if status, body, _ := post(t, s, "/v1/completions", `{"model":"m","prompt":"say something"}`); status != 500 || strings.Contains(body, "secret") {
		t.Errorf("%d %s", status, body)
	}
}

// A client that goes ends the generation, and is no failure.
func TestDisconnect(t *testing.T) {
	var log bytes.Buffer
	testLog = slog.New(slog.NewTextHandler(&log, nil))
	t.Cleanup(func() { // after the server's end
		testLog = nil
		if log.Len() > 0 {
			t.Errorf("logged: %s", log.String())
		}
	})
	m := servetest.NewText()
	m.Answer = func(string, int) string { return strings.Repeat("x", 1e6) }
	m.Delay = time.Millisecond
	s := testServer(t, m)
	for i, body := range []string{`{"model":"m","prompt":"x","stream":true,"max_tokens":1000000}`, `{"model":"m","prompt":["x","y"],"max_tokens":1000000}`} {
		ctx, cancel := context.WithCancel(context.Background())
		q, _ := http.NewRequestWithContext(ctx, "POST", s.URL+"/v1/completions", strings.NewReader(body))
		go func() {
			if r, err := http.DefaultClient.Do(q); err == nil {
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
		}()
		want := []int{1, 3}[i]
		until := func(what string, count func() int) {
			for end := time.Now().Add(30 * time.Second); count() < want; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d generations %s, expected %d", count(), what, want)
				}
			}
		}
		until("have begun", func() int { return len(m.Requests()) })
		cancel()
		until("were ended", func() int { return int(m.Aborted.Load()) })
	}
}

func TestModels(t *testing.T) {
	s := testServer(t, servetest.NewText())
	get := func(path string) (int, string) {
		r, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, string(b)
	}
	_, body := get("/v1/models")
	check(t, masked(t, body), `{"data":[{"created":0,"id":"e","object":"model","owned_by":"salver"},{"chats":true,"created":0,"id":"m","max_model_len":2048,"object":"model","owned_by":"salver"}],"object":"list"}`)
	_, body = get("/v1/models/m")
	check(t, masked(t, body), `{"chats":true,"created":0,"id":"m","max_model_len":2048,"object":"model","owned_by":"salver"}`)
	for _, name := range []string{"m:1", "m:latest"} { // as requests name them
		if status, body := get("/v1/models/" + name); status != 200 || !strings.Contains(body, `"id":"`+name+`"`) {
			t.Errorf("%d %s", status, body)
		}
	}
	if status, body := get("/v1/models/m:2"); status != 404 {
		t.Errorf("%d %s", status, body)
	}
	if status, body := get("/v1/models/t"); status != 404 || !strings.Contains(body, "model_not_found") {
		t.Errorf("%d %s", status, body)
	}
}

func TestOthers(t *testing.T) {
	s := testServer(t, servetest.NewText())
	for _, c := range []struct{ path, body, want string }{
		{"/v1/embeddings", `{"model":"e","input":["ab",[7]]}`, `{"data":[{"embedding":[3,256,0,0],"index":0,"object":"embedding"},{"embedding":[1,7,0,0],"index":1,"object":"embedding"}],"model":"e","object":"list","usage":{"prompt_tokens":4,"total_tokens":4}}`},
		{"/v1/embeddings", `{"model":"e","input":"a","encoding_format":"base64"}`, `{"data":[{"embedding":"AAAAQAAAgEMAAAAAAAAAAA==","index":0,"object":"embedding"}],"model":"e","object":"list","usage":{"prompt_tokens":2,"total_tokens":2}}`},
		{"/v1/rerank", `{"model":"e","query":"abcd","documents":["ab",{"text":"abcd"},"x"],"top_n":2,"return_documents":true}`, `{"id":"rerank-","model":"e","results":[{"document":{"text":"abcd"},"index":1,"relevance_score":1},{"document":{"text":"ab"},"index":0,"relevance_score":0.5}],"usage":{"prompt_tokens":19,"total_tokens":19}}`},
		{"/v2/rerank", `{"model":"e","query":"abcd","documents":["x"]}`, `{"id":"rerank-","model":"e","results":[{"index":0,"relevance_score":0}],"usage":{"prompt_tokens":5,"total_tokens":5}}`},
		{"/rerank", `{"model":"e","query":"abcd","documents":["x"]}`, `{"id":"rerank-","model":"e","results":[{"index":0,"relevance_score":0}],"usage":{"prompt_tokens":5,"total_tokens":5}}`},
		{"/tokenize", `{"model":"m","prompt":"a <s>","return_token_strs":true}`, `{"count":4,"max_model_len":2048,"token_strs":["\u003cs\u003e","a","Ġ","\u003cs\u003e"],"tokens":[256,97,32,256]}`},
		{"/tokenize", `{"model":"e","prompt":"a","add_special_tokens":false}`, `{"count":1,"max_model_len":2048,"token_strs":null,"tokens":[97]}`},
		{"/detokenize", `{"model":"m","tokens":[256,97,195,169]}`, `{"prompt":"\u003cs\u003eaé"}`},
	} {
		status, body, _ := post(t, s, c.path, c.body)
		if status != 200 {
			t.Errorf("%s %s: %d %s", c.path, c.body, status, body)
			continue
		}
		check(t, masked(t, body), c.want)
	}
}
