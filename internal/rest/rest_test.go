package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

// fixed is a model's function that gives the same outputs to any inputs.
func fixed(out []*tensor.Tensor) func(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return func(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, error) { return out, nil }
}

// one is a model that copies an input of one datatype and any size.
func one(dt dtype.Type) *servetest.Backend {
	return &servetest.Backend{
		In:  []serve.TensorInfo{{Name: "x", DType: dt, Shape: []int{-1}}},
		Out: []serve.TensorInfo{{Name: "y", DType: dt, Shape: []int{-1}}},
	}
}

// failing is a model whose runs end in err.
func failing(err error) *servetest.Backend {
	b := one(dtype.Float32)
	b.Func = func(context.Context, []*tensor.Tensor) ([]*tensor.Tensor, error) { return nil, err }
	return b
}

func testCore(t *testing.T) *serve.Core {
	core := serve.New(serve.Options{Control: serve.ControlExplicit})
	add := func(name string, b *servetest.Backend, cfg *repo.Config) {
		if err := core.Register(name, 1, b, cfg); err != nil {
			t.Fatal(err)
		}
	}
	add("identity", servetest.Identity(4), nil)
	classifier := servetest.Identity(2)
	classifier.Out[0].Labels = []string{"rain", "sun"}
	add("classifier", classifier, nil)
	for _, dt := range []dtype.Type{dtype.Float32, dtype.Float16, dtype.String, dtype.Int64, dtype.Bool} {
		add(dt.OIP(), one(dt), nil)
	}
	add("two", &servetest.Backend{
		In:  []serve.TensorInfo{{Name: "a", DType: dtype.Int32, Shape: []int{-1}}, {Name: "b", DType: dtype.Int32, Shape: []int{-1}}},
		Out: []serve.TensorInfo{{Name: "c", DType: dtype.Int32, Shape: []int{-1}}, {Name: "d", DType: dtype.Int32, Shape: []int{-1}}},
	}, nil)
	add("full", failing(&serve.Error{Kind: serve.ResourceExhausted, Message: "the queue is full", RetryAfter: 1500 * time.Millisecond}), nil)
	add("loading", failing(&serve.Error{Kind: serve.Unavailable, Message: "not yet"}), nil)
	add("late", failing(context.DeadlineExceeded), nil)
	add("broken", failing(errors.New("secret")), nil)
	return core
}

// send makes a request and gives status, headers and body of the answer.
func send(t *testing.T, h http.Handler, method, path string, header http.Header, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// x is an inference request's body for the model FP32 or identity.
const x = `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,5,10,4]}]}`

func TestAnswers(t *testing.T) {
	h := New(testCore(t), Options{Version: "1.2.3", MaxBody: 1 << 16})
	bin := func(n int) http.Header { return http.Header{headerLength: {fmt.Sprint(n)}} }
	for name, c := range map[string]struct {
		method, path string
		header       http.Header
		body         string
		status       int
		want         string // the whole body, or with … at its end its beginning, or with … at both ends a part
	}{
		"labels":          {"GET", "/v2/models/classifier", nil, "", 200, `…"outputs":[{"name":"y","datatype":"FP32","shape":[-1,2],"labels":["rain","sun"]}]…`},
		"server":          {"GET", "/v2", nil, "", 200, `{"name":"salver","version":"1.2.3","extensions":["binary_tensor_data","classification","parameters","schedule_policy","model_repository","model_configuration","statistics"]}`},
		"slash":           {"GET", "/v2/", nil, "", 200, `{"name":"salver"…`},
		"live":            {"GET", "/v2/health/live", nil, "", 200, `{"live":true}`},
		"ready":           {"GET", "/v2/health/ready", nil, "", 200, `{"ready":true}`},
		"healthz":         {"GET", "/healthz", nil, "", 200, `{"live":true}`},
		"health":          {"GET", "/health", nil, "", 200, `{"ready":true}`},
		"model":           {"GET", "/v2/models/identity", nil, "", 200, `{"name":"identity","versions":["1"],"platform":…`},
		"model tensors":   {"GET", "/v2/models/identity/versions/1", nil, "", 200, `…"inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4]}]}…`},
		"model ready":     {"GET", "/v2/models/identity/ready", nil, "", 200, `{"name":"identity","ready":true}`},
		"version ready":   {"GET", "/v2/models/identity/versions/1/ready", nil, "", 200, `{"name":"identity","ready":true}`},
		"no such ready":   {"GET", "/v2/models/nope/ready", nil, "", 404, `{"error":…`},
		"config":          {"GET", "/v2/models/identity/config", nil, "", 200, `{"name":"identity",…`},
		"stats":           {"GET", "/v2/models/identity/stats", nil, "", 200, `{"model_stats":[{"name":"identity","version":"1",…`},
		"all stats":       {"GET", "/v2/models/stats", nil, "", 200, `{"model_stats":[{"name":"BOOL",…`},
		"index":           {"POST", "/v2/repository/index", nil, "", 200, `[{"name":"BOOL","version":"1","state":"READY"…`},
		"ready index":     {"POST", "/v2/repository/index", nil, `{"ready":true}`, 200, `[{"name":"BOOL",…`},
		"index of what":   {"POST", "/v2/repository/index", nil, `{"redy":true}`, 400, `{"error":"request's JSON: unknown field \"redy\""}`},
		"index twice":     {"POST", "/v2/repository/index", nil, `{} ]`, 400, `{"error":"request's JSON: expected one object, found something after it"}`},
		"load":            {"POST", "/v2/repository/models/nope/load", nil, "", 404, `{"error":…`},
		"load file":       {"POST", "/v2/repository/models/nope/load", nil, `{"parameters":{"file:1/model.onnx":"AAAA"}}`, 400, `{"error":"parameter \"file:1/model.onnx\": expected config, …`},
		"load config":     {"POST", "/v2/repository/models/nope/load", nil, `{"parameters":{"config":"{}"}}`, 404, `{"error":…`},
		"load bad config": {"POST", "/v2/repository/models/nope/load", nil, `{"parameters":{"config":"nope"}}`, 400, `{"error":"model \"nope\": …`},
		"unload":          {"POST", "/v2/repository/models/nope/unload", nil, `{"parameters":{"unload_dependents":false}}`, 404, `{"error":…`},
		"unknown model":   {"GET", "/v2/models/nope", nil, "", 404, `{"error":"no model is called \"nope\"…`},
		"unknown version": {"POST", "/v2/models/identity/versions/7/infer", nil, x, 404, `{"error":"model \"identity\" has no version \"7\"; ready are [\"1\"]"}`},
		"unknown route":   {"GET", "/v2/modells", nil, "", 404, `{"error":"there is nothing at /v2/modells; the API begins at /v2"}`},
		"root":            {"GET", "/", nil, "", 404, `{"error":…`},
		"long path":       {"GET", "/v2/models/a/b/c/d/e/f/g/h/i", nil, "", 404, `{"error":…`},
		"wrong method":    {"GET", "/v2/models/identity/infer", nil, "", 405, `{"error":"expected POST for /v2/models/identity/infer, found GET"}`},
		"wrong method 2":  {"DELETE", "/v2/models/identity", nil, "", 405, `{"error":"expected GET, HEAD for /v2/models/identity, found DELETE"}`},
		"shared memory":   {"GET", "/v2/systemsharedmemory/status", nil, "", 501, `{"error":"shared-memory regions are not supported by this server"}`},
		"cuda memory":     {"POST", "/v2/cudasharedmemory/region/r/register", nil, "", 501, `{"error":…`},
		"trace":           {"POST", "/v2/trace/setting", nil, "", 501, `{"error":…`},
		"logging":         {"GET", "/v2/logging", nil, "", 501, `{"error":…`},
		"no metrics":      {"GET", "/metrics", nil, "", 404, `{"error":…`},

		"infer":            {"POST", "/v2/models/identity/infer", nil, x, 200, `{"model_name":"identity","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1.0,5.0,10.0,4.0]}]}`},
		"infer version":    {"POST", "/v2/models/identity/versions/1/infer", nil, `{"id":"a\"b",` + x[1:], 200, `{"model_name":"identity","model_version":"1","id":"a\"b","outputs":[…`},
		"batch":            {"POST", "/v2/models/identity/infer", nil, `{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[[1,2,3,4],[5,6,7,8]]}],"outputs":[{"name":"y"}]}`, 200, `…"shape":[2,4],"data":[1.0,2.0,3.0,4.0,5.0,6.0,7.0,8.0]}]}…`},
		"binary in":        {"POST", "/v2/models/INT64/infer", bin(105), `{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","parameters":{"binary_data_size":8}}],"outputs":[]}` + "\x01\x00\x00\x00\x00\x00\x00\x80", 200, `…"data":[-9223372036854775807]}]}`},
		"binary out":       {"POST", "/v2/models/identity/infer", nil, `{"parameters":{"binary_data_output":true},` + x[1:], 200, `…"parameters":{"binary_data_size":16}}]}` + "\x00\x00\x80\x3f\x00\x00\xa0\x40\x00\x00\x20\x41\x00\x00\x80\x40…"},
		"binary bytes":     {"POST", "/v2/models/BYTES/infer", nil, `{"inputs":[{"name":"x","shape":[2],"datatype":"BYTES","data":["a",""]}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}`, 200, "…\"binary_data_size\":9}}]}\x01\x00\x00\x00a\x00\x00\x00\x00…"},
		"half as JSON":     {"POST", "/v2/models/FP16/infer", bin(89), `{"inputs":[{"name":"x","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}}]}`[:89] + "}ab", 400, `{"error":…`},
		"raw":              {"POST", "/v2/models/FP32/infer", bin(0), "\x00\x00\x80\x3f\x00\x00\xa0\x40", 200, `…"shape":[2],"parameters":{"binary_data_size":8}}]}` + "\x00\x00\x80\x3f\x00\x00\xa0\x40…"},
		"raw odd":          {"POST", "/v2/models/FP32/infer", bin(0), "12345", 400, `…expected a multiple of 4 bytes, found 5…`},
		"raw two":          {"POST", "/v2/models/two/infer", bin(0), "1234", 400, `…needs a model with one input; model \"two\" has 2…`},
		"raw bytes":        {"POST", "/v2/models/BYTES/infer", bin(0), "hi", 200, "…\x02\x00\x00\x00hi…"},
		"raw of none":      {"POST", "/v2/models/nope/infer", bin(0), "hi", 404, `{"error":…`},
		"classes":          {"POST", "/v2/models/identity/infer", nil, x[:len(x)-1] + `,"outputs":[{"name":"y","parameters":{"classification":2}}]}`, 200, `…{"name":"y","datatype":"BYTES","shape":[…`},
		"classes by name":  {"POST", "/v2/models/classifier/infer", nil, `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,3]}],"outputs":[{"name":"y","parameters":{"classification":2}}]}`, 200, `…"data":["3:1:sun","1:0:rain"]…`},
		"classes of text":  {"POST", "/v2/models/BYTES/infer", nil, `{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","data":["a"]}],"outputs":[{"name":"y","parameters":{"classification":2}}]}`, 400, `…classification needs an output of numbers, found BYTES…`},
		"header too long":  {"POST", "/v2/models/identity/infer", bin(1000), x, 400, `…Inference-Header-Content-Length is 1000, but the body has only 75 bytes…`},
		"header negative":  {"POST", "/v2/models/identity/infer", http.Header{headerLength: {"-1"}}, x, 400, `…expected one integer of at least 0, found [\"-1\"]…`},
		"header twice":     {"POST", "/v2/models/identity/infer", http.Header{headerLength: {"1", "2"}}, x, 400, `…expected one integer…`},
		"not JSON":         {"POST", "/v2/models/identity/infer", nil, "hello", 400, `{"error":"request's JSON, byte 0: expected an inference request, '{', found \"hello\""}`},
		"empty":            {"POST", "/v2/models/identity/infer", nil, "", 400, `…found its end…`},
		"wrong name":       {"POST", "/v2/models/identity/infer", nil, strings.Replace(x, `"x"`, `"z"`, 1), 400, `…input \"z\" is unknown; the model's inputs are [\"x\"]…`},
		"wrong datatype":   {"POST", "/v2/models/identity/infer", nil, strings.Replace(x, `FP32`, `FP64`, 1), 400, `…input \"x\": expected datatype FP32, found FP64…`},
		"wrong shape":      {"POST", "/v2/models/identity/infer", nil, strings.Replace(x, `[1,4]`, `[4]`, 1), 400, `…input \"x\": expected shape [-1,4], found [4]…`},
		"input twice":      {"POST", "/v2/models/identity/infer", nil, `{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]},{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}]}`, 400, `…is given twice…`},
		"input missing":    {"POST", "/v2/models/two/infer", nil, `{"inputs":[{"name":"a","shape":[1],"datatype":"INT32","data":[1]}]}`, 400, `…input \"b\" (INT32 [-1]) is missing…`},
		"wrong output":     {"POST", "/v2/models/identity/infer", nil, x[:len(x)-1] + `,"outputs":[{"name":"z"}]}`, 400, `…output \"z\" is unknown; the model's outputs are [\"y\"]…`},
		"too large":        {"POST", "/v2/models/identity/infer", nil, strings.Repeat(" ", 1<<16+1), 413, `{"error":"expected a body of at most 65536 bytes, found 65537"}`},
		"queue full":       {"POST", "/v2/models/full/infer", nil, strings.Replace(x, `[1,4]`, `[4]`, 1), 429, `{"error":"the queue is full"}`},
		"not ready":        {"POST", "/v2/models/loading/infer", nil, strings.Replace(x, `[1,4]`, `[4]`, 1), 503, `{"error":"not yet"}`},
		"deadline":         {"POST", "/v2/models/late/infer", nil, strings.Replace(x, `[1,4]`, `[4]`, 1), 504, `{"error":…`},
		"internal":         {"POST", "/v2/models/broken/infer", nil, strings.Replace(x, `[1,4]`, `[4]`, 1), 500, `{"error":…`},
		"unknown encoding": {"POST", "/v2/models/identity/infer", http.Header{"Content-Encoding": {"br"}}, x, 415, `{"error":"expected Content-Encoding gzip, deflate or identity, found \"br\""}`},
		"not gzip":         {"POST", "/v2/models/identity/infer", http.Header{"Content-Encoding": {"gzip"}}, x, 400, `{"error":"the body is not valid gzip data: gzip: invalid header"}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := send(t, h, c.method, c.path, c.header, c.body)
			if w.Code != c.status || !like(w.Body.String(), c.want) {
				t.Errorf("%d %s\nwant %d %s", w.Code, w.Body, c.status, c.want)
			}
			if ct := w.Header().Get("Content-Type"); w.Header().Get(headerLength) == "" && (ct != "application/json" || !json.Valid(w.Body.Bytes())) {
				t.Errorf("%s: %q", ct, w.Body)
			}
			if retry := w.Header().Get("Retry-After"); (retry != "") != (c.status == 429 || c.status == 503) || c.status == 429 && retry != "2" {
				t.Errorf("Retry-After %q with status %d", retry, c.status)
			}
			if allow := w.Header().Get("Allow"); (allow != "") != (c.status == 405) {
				t.Errorf("Allow %q with status %d", allow, c.status)
			}
		})
	}
}

// like compares with a pattern whose … at the start or end stand for anything.
func like(s, pattern string) bool {
	p, open := strings.CutSuffix(pattern, "…")
	p, anywhere := strings.CutPrefix(p, "…")
	switch {
	case anywhere && open:
		return strings.Contains(s, p)
	case anywhere:
		return strings.HasSuffix(s, p)
	case open:
		return strings.HasPrefix(s, p)
	}
	return s == p
}

// Large binary outputs are written from where they are.
func TestLargeOutput(t *testing.T) {
	h := New(testCore(t), Options{})
	values := make([]float32, 1<<20)
	for i := range values {
		values[i] = float32(i)
	}
	js := fmt.Sprintf(`{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[%d],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}`, len(values), 4*len(values))
	w := send(t, h, "POST", "/v2/models/FP32/infer", http.Header{headerLength: {fmt.Sprint(len(js))}}, js+string(tensor.AsBytes(values)))
	if w.Code != 200 || !bytes.HasSuffix(w.Body.Bytes(), tensor.AsBytes(values)) || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()) {
		t.Errorf("%d %v, %d bytes", w.Code, w.Header(), w.Body.Len())
	}
}

func TestPanic(t *testing.T) {
	h := New(testCore(t), Options{Pages: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") })})
	w := send(t, h, "GET", "/page", nil, "")
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Every route is in the documentation of the API.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/HTTP_API.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes {
		want := "`" + strings.TrimSpace(rt.method+" "+rt.pattern) + "`"
		if !strings.Contains(string(doc), want) {
			t.Errorf("docs/HTTP_API.md does not mention %s", want)
		}
	}
}

// No request makes the handler panic or answer without JSON.
func FuzzInfer(f *testing.F) {
	f.Add([]byte(x), "74", "")
	f.Add([]byte(x+"1234"), "", "gzip")
	core := serve.New(serve.Options{})
	if err := core.Register("identity", 1, servetest.Identity(4), nil); err != nil {
		f.Fatal(err)
	}
	h := New(core, Options{MaxBody: 1 << 16})
	f.Fuzz(func(t *testing.T, body []byte, header, encoding string) {
		r := httptest.NewRequest("POST", "/v2/models/identity/infer", bytes.NewReader(body))
		if header != "" {
			r.Header.Set(headerLength, header)
		}
		if encoding != "" {
			r.Header.Set("Content-Encoding", encoding)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 || w.Code != 200 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%d %q", w.Code, w.Body)
		}
	})
}
