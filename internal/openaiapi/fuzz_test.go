package openaiapi

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/rest"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
)

var fuzzed = []string{
	"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/rerank", "/tokenize", "/detokenize",
	"/v1/messages", "/v1/messages/count_tokens", "/api/chat", "/api/generate", "/api/embed", "/api/show", "/v2/models/m/generate", "/v2/models/m/generate_stream",
}

// seeds are a valid request for each.
var seeds = []string{
	`{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\":[1,null]}"}}]},{"role":"tool","tool_call_id":"1","content":"c"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],"tool_choice":"auto","n":2,"logprobs":true,"top_logprobs":2,"stop":["x"],"logit_bias":{"5":-1},"chat_template_kwargs":{"a":{"b":[1.5,true]}},"stream":true,"stream_options":{"include_usage":true}}`,
	`{"model":"m","prompt":["a",[1,2]],"echo":true,"logprobs":3,"max_tokens":2,"best_of":2,"seed":-1,"temperature":0.5,"top_p":0,"min_p":0.1,"stop_token_ids":[7]}`,
	`{"model":"m","input":[{"role":"user","content":"x"},{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"r"}]},{"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":"4"}],"reasoning":{"effort":"none"},"text":{"format":{"type":"text"}},"stream":true}`,
	`{"model":"e","input":[[1,2],"x"],"encoding_format":"base64"}`,
	`{"model":"e","query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true}`,
	`{"model":"m","messages":[{"role":"user","content":"x"}],"add_generation_prompt":false,"continue_final_message":true,"return_token_strs":true}`,
	`{"model":"m","tokens":[1,2,256]}`,
	`{"model":"m","max_tokens":3,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"t"}]},{"type":"text","text":"u"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"h","signature":""},{"type":"tool_use","id":"1","name":"f","input":{}}]},{"role":"assistant","content":"so"}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"none"},"thinking":{"type":"disabled"},"stream":true}`,
	`{"model":"m","messages":[{"role":"user","content":"x"}]}`,
	`{"model":"m","messages":[{"role":"user","content":"x","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}],"options":{"num_predict":3,"top_k":1,"stop":["a"]},"think":"low","stream":false}`,
	`{"model":"m:latest","prompt":"x","raw":true,"options":{"seed":1}}`,
	`{"model":"e","input":["a"]}`, `{"model":"m"}`, `{"text_input":"x","id":"1","parameters":{"max_tokens":2},"temperature":0}`, `{"text_input":"x"}`,
}

// Whatever is sent, it is answered or refused: it is never the server's fault,
// and an answer that comes at once is JSON.
func FuzzRequests(f *testing.F) {
	core := serve.New(serve.Options{})
	for name, b := range map[string]serve.Backend{"m": servetest.NewText(), "e": servetest.NewEncoder()} {
		if err := core.Register(name, 1, b, nil); err != nil {
			f.Fatal(err)
		}
	}
	h := rest.New(core, rest.Options{APIs: APIs(core, Options{})})
	for i, body := range seeds {
		f.Add(i, body)
	}
	f.Fuzz(func(t *testing.T, i int, body string) {
		path := fuzzed[uint(i)%uint(len(fuzzed))]
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", path, strings.NewReader(body)))
		if w.Code != 200 && (w.Code < 400 || w.Code >= 500) {
			t.Errorf("%s %q: %d %s", path, body, w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s %q: %s", path, body, w.Body)
		}
	})
}

// Fuzzing begins with requests that are served.
func TestSeedsAreServed(t *testing.T) {
	s := testServer(t, servetest.NewText())
	for i, body := range seeds {
		if status, answer, _ := post(t, s, fuzzed[i], body); status != 200 {
			t.Errorf("%s: %d %s", fuzzed[i], status, answer)
		}
	}
}
