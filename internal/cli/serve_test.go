package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/salver-ml/salver/internal/demo"
)

// output collects what a command that runs on writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// running is a serve command on free ports.
type running struct {
	t          *testing.T
	out, err   output
	stop       context.CancelFunc
	ended      chan error
	http, grpc string
}

// startServe runs the command and waits until it listens.
func startServe(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{t: t, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	root := newRoot(&env{in: strings.NewReader(""), out: &r.out, err: &r.err})
	root.SetArgs(append([]string{"serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"}, args...))
	go func() { r.ended <- root.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("stdout:\n%s\nstderr:\n%s", &r.out, &r.err)
		}
	})
	r.http = r.wait(`HTTP  http://(\S+)`, `"protocol":"http","address":"([^"]+)"`)
	r.grpc = r.wait(`gRPC  (\S+)`, `"protocol":"grpc","address":"([^"]+)"`)
	return r
}

// wait returns the first group of the first pattern that is written.
func (r *running) wait(patterns ...string) string {
	r.t.Helper()
	for range 1000 {
		for _, p := range patterns {
			if m := regexp.MustCompile(p).FindStringSubmatch(r.out.String() + r.err.String()); m != nil {
				return m[len(m)-1]
			}
		}
		select {
		case err := <-r.ended:
			r.t.Fatalf("it ended: %v\n%s%s", err, &r.out, &r.err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	r.t.Fatalf("it does not write %q:\n%s%s", patterns, &r.out, &r.err)
	return ""
}

// end stops the command and returns its error.
func (r *running) end() error {
	r.stop()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(20 * time.Second):
		r.t.Fatal("it does not end")
		return nil
	}
}

// ask sends a GET, or a POST if there is a body, with an API key unless that is empty.
func (r *running) ask(path, body, key string) (status int, answer string) {
	r.t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequest(method, "http://"+r.http+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("X-Api-Key", key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (r *running) expect(path, body string, status int, contains string) {
	r.t.Helper()
	if code, answer := r.ask(path, body, ""); code != status || !strings.Contains(answer, contains) {
		r.t.Errorf("%s: %d %s, expected %d and %q", path, code, answer, status, contains)
	}
}

// modelFile writes one of the demo's models, or nonsense, into a new folder.
func modelFile(t *testing.T, name string, good bool) string {
	t.Helper()
	content := []byte("not a model")
	if good {
		content = demo.Models()[1].ONNX
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestServeDemo(t *testing.T) {
	r := startServe(t, "--demo")
	r.wait("(ready after)")
	for _, m := range demo.Models() {
		r.expect("/v2/models/"+m.Name+"/infer", string(m.SampleRequest), 200, `"probabilities"`)
		if text := r.out.String(); !strings.Contains(text, m.Curl(r.http)) || !strings.Contains(text, "model "+m.Name+" version 1") {
			t.Errorf("the start does not tell of %s:\n%s", m.Name, text)
		}
	}
	for _, m := range demo.LanguageModels() {
		r.expect("/v1/chat/completions", fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":%q}],"temperature":0}`, m.Name, m.Question), 200, m.Answer)
	}
	if text, first := r.out.String(), demo.LanguageModels()[0]; !strings.Contains(text, first.Curl(r.http)) {
		t.Errorf("the start does not tell of %s:\n%s", first.Name, text)
	}
	r.expect("/v2/health/ready", "", 200, "true")
	r.expect("/", "", 200, "<html")
	r.expect("/metrics", "", 200, `salver_request_duration_seconds_count{model="digits"`)
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil || h.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health: %v %v", h, err)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", r.http); err == nil {
		t.Error("the port is open after the end")
	}
}

func TestServeMisuse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	iris := modelFile(t, "iris.onnx", true)
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"", exitMisuse, "nothing to serve"},
		{"--demo --http= --grpc=", exitMisuse, "nobody could reach"},
		{"--demo --http 0.0.0.0:0", exitMisuse, "--api-key-file"},
		{"--demo --http 8000", exitMisuse, "HOST:PORT"},
		{"--demo --load-model x", exitMisuse, "--model-control-mode explicit"},
		{"--demo --model-control-mode poll", exitMisuse, "none or explicit"},
		{"--demo --max-body 10x", exitMisuse, "64MiB"},
		{"--demo --max-body 0", exitMisuse, "--max-body"},
		{"--demo --max-batch 0", exitMisuse, "--max-batch"},
		{"--demo --max-in-flight -1", exitMisuse, "--max-in-flight"},
		{"--demo --log-format xml", exitMisuse, "text or json"},
		{"--demo --json", exitMisuse, "--dry-run"},
		{"--demo --passes -none-such", exitMisuse, "there is no such pass"},
		{"--demo --api-key-file /no/such/file", exitFailure, "/no/such/file"},
		{"/no/such/model.onnx", exitFailure, "/no/such/model.onnx"},
		{"--demo --http " + taken.Addr().String(), exitFailure, "another program listens there"},
		{"--demo " + iris, exitFailure, `the model "iris" is in --demo and in`},
		{"--http 127.0.0.1:0 --grpc= " + modelFile(t, "bad.onnx", false), exitFailure, "no model could be loaded"},
		{"--http 127.0.0.1:0 --grpc= --strict " + iris + " " + modelFile(t, "bad.onnx", false), exitFailure, `model "bad"`},
	} {
		var out, errw output
		status := Main(append([]string{"serve"}, strings.Fields(c.args)...), strings.NewReader(""), &out, &errw)
		if status != c.status || !strings.Contains(errw.String(), c.says) {
			t.Errorf("serve %s: status %d, expected %d; %q should say %q", c.args, status, c.status, errw.String(), c.says)
		}
	}
}

// A model that fails is named; the others are served.
func TestServeFailedModel(t *testing.T) {
	r := startServe(t, modelFile(t, "bad.onnx", false), modelFile(t, "flowers.onnx", true))
	r.wait("(ready after)")
	if !strings.Contains(r.out.String(), "model bad is not served") {
		t.Errorf("stdout does not name the model:\n%s", &r.out)
	}
	r.expect("/v2/health/ready", "", 200, "true")
	r.expect("/v2/models/bad/ready", "", 503, "false")
	r.expect("/v2/models/flowers/infer", string(demo.Models()[1].SampleRequest), 200, `"probabilities"`)
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestServeRepository(t *testing.T) {
	model := modelFile(t, "repo/flowers/1/model.onnx", true)
	folder := filepath.Dir(filepath.Dir(filepath.Dir(model)))
	config := `max_batch_size: 8 output { name: "probabilities" label_filename: "labels.txt" }`
	for name, text := range map[string]string{"config.pbtxt": config, "labels.txt": "setosa\nversicolor\nvirginica\n"} {
		if err := os.WriteFile(filepath.Join(folder, "flowers", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r := startServe(t, "--model-repository", folder, "--model-control-mode", "explicit", "--log-format", "json")
	r.wait(`"msg":"(ready)"`)
	r.expect("/v2/models/flowers/ready", "", 404, "")
	r.expect("/v2/repository/models/flowers/load", "{}", 200, "")
	body := strings.Replace(string(demo.Models()[1].SampleRequest), `{"inputs"`, `{"outputs":[{"name":"probabilities","parameters":{"classification":1}}],"inputs"`, 1)
	r.expect("/v2/models/flowers/infer", body, 200, ":setosa")
	r.expect("/v2/models/flowers/config", "", 200, `"max_batch_size":8`)
	r.expect("/v2/repository/models/flowers/unload", "{}", 200, "")
	for range 100 { // the last request's memory may still be in use
		if code, _ := r.ask("/v2/models/flowers/infer", body, ""); code != 503 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.expect("/v2/models/flowers/infer", body, 404, "unloaded")
	if r.out.String() != "" {
		t.Errorf("with --log-format json stdout has %s", &r.out)
	}
	for line := range strings.Lines(r.err.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
}

func TestServeDryRun(t *testing.T) {
	model := modelFile(t, "repo/flowers/1/model.onnx", true)
	folder := filepath.Dir(filepath.Dir(filepath.Dir(model)))
	run := func(args ...string) (int, string) {
		var out, errw output
		status := Main(append([]string{"serve", "--dry-run"}, args...), strings.NewReader(""), &out, &errw)
		return status, out.String() + errw.String()
	}
	if status, text := run(folder); status != exitOK || !strings.Contains(text, "1 models, 1 could be served, 0 problems") {
		t.Errorf("status %d: %s", status, text)
	}
	config := "optimization { cuda { graphs: true } }\nsequence_batching { }\n"
	if err := os.WriteFile(filepath.Join(folder, "flowers", "config.pbtxt"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	status, text := run(folder)
	for _, want := range []string{"config.pbtxt:1:", "optimization", "sequence_batching", "not supported", "0 could be served"} {
		if status != exitFailure || !strings.Contains(text, want) {
			t.Errorf("status %d; it does not say %q: %s", status, want, text)
		}
	}
	var r dryRunResult
	if _, text := run("--json", folder); json.Unmarshal([]byte(text), &r) != nil || len(r.Problems) < 2 || !r.Problems[0].Unsupported || r.Problems[0].Line != 1 {
		t.Errorf("%+v of %s", r, text)
	}
}

// Requests in flight and on their way when the end begins are answered.
func TestServeLosesNothing(t *testing.T) {
	r := startServe(t, "--demo", "--max-queue-delay", "2ms")
	r.wait("(ready after)")
	body := string(demo.Models()[0].SampleRequest)
	var answered atomic.Int64
	var clients sync.WaitGroup
	for range 32 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for {
				req, _ := http.NewRequest("POST", "http://"+r.http+"/v2/models/digits/infer", io.NopCloser(strings.NewReader(body))) // which no client repeats
				req.ContentLength = int64(len(body))
				resp, err := client.Do(req)
				if err != nil {
					if !strings.Contains(err.Error(), "dial tcp") { // no request was sent
						t.Error(err)
					}
					return
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 {
					t.Errorf("%d %s %v", resp.StatusCode, text, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for answered.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	clients.Wait()
	if !strings.Contains(r.err.String(), "stopped") {
		t.Errorf("the log does not tell of the end: %s", &r.err)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "64MiB": 64 << 20, "2 GiB": 2 << 30, "5MB": 5e6, "7kB": 7000, "3B": 3} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q is %d, %v; expected %d", text, s, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5.2", "1 TiB x", fmt.Sprint("9", strings.Repeat("0", 30))} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
	s := size(64 << 20)
	if s.String() != "64MiB" {
		t.Error(s.String())
	}
}
