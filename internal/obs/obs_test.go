package obs

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/limit"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/textgen"
)

var update = flag.Bool("update", false, "write docs/METRICS.md")

func TestDocumentIsUpToDate(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "METRICS.md")
	if *update {
		if err := os.WriteFile(file, []byte(Document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Document() {
		t.Error("docs/METRICS.md is not what the code says: run go test ./internal/obs -update")
	}
}

func scrape(t *testing.T, s Sources) string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(s).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	c := serve.New(serve.Options{})
	if err := c.Register("m", 1, servetest.Identity(2), nil); err != nil {
		t.Fatal(err)
	}
	text := servetest.NewText()
	if err := c.Register("llm", 1, text, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := text.Generate(context.Background(), &textgen.Request{Prompt: []int32{97, 98}}, func(*textgen.Event) error { return nil }); err != nil {
		t.Fatal(err)
	}
	infer := func(model string, rows int, protocol string) {
		x := tensor.New(dtype.Float32, rows, 2)
		r, err := c.Infer(context.Background(), &serve.Request{Model: model, Protocol: protocol, Inputs: []serve.NamedTensor{{Name: "x", Tensor: x}}})
		if err == nil {
			r.Release()
		}
	}
	infer("m", 1, "http")
	infer("m", 3, "http")
	infer("m", 4, "grpc")
	infer("m", 0, "grpc")
	infer("n", 1, "http")
	flight := &limit.InFlight{Max: 1}
	flight.Enter()
	flight.Enter()
	scraped := scrape(t, Sources{Core: c, InFlight: flight, Version: "v1", ISA: "avx2"})
	for _, want := range []string{
		`isa="avx2",version="v1"} 1`,
		"salver_ready 1",
		`salver_model_ready{model="m",version="1"} 1`,
		`salver_model_memory_bytes{model="m",version="1"} 1.048576e+06`,
		`salver_request_duration_seconds_count{model="m",protocol="http",version="1"} 2`,
		`salver_request_duration_seconds_bucket{model="m",protocol="grpc",version="1",le="+Inf"} 1`,
		`salver_request_duration_seconds_bucket{model="m",protocol="grpc",version="1",le="50"} 1`,
		`salver_batch_size_bucket{model="m",version="1",le="1"} 1`,
		`salver_batch_size_bucket{model="m",version="1",le="4"} 3`,
		`salver_batch_size_sum{model="m",version="1"} 8`,
		`salver_requests_refused_total{reason="not_found"} 1`,
		`salver_requests_refused_total{reason="unauthorized"} 0`,
		`salver_requests_refused_total{reason="too_many_in_flight"} 1`,
		`salver_requests_in_flight{model="m",version="1"} 0`,
		`salver_server_requests_in_flight 1`,
		`nv_inference_request_success{model="m",version="1"} 3`,
		`nv_inference_request_failure{model="m",reason="OTHER",version="1"} 1`,
		`nv_inference_count{model="m",version="1"} 8`,
		`nv_inference_exec_count{model="m",version="1"} 3`,
		`nv_inference_pending_request_count{model="m",version="1"} 0`,
		`salver_llm_requests_running{model="llm",version="1"} 0`,
		`salver_llm_prompt_tokens_total{model="llm",version="1"} 2`,
		`salver_llm_first_token_seconds_count{model="llm",version="1"} 1`,
		`salver_llm_requests_total{model="llm",reason="stop",version="1"} 1`,
		`vllm:num_requests_waiting{model_name="llm",version="1"} 0`,
		`vllm:kv_cache_usage_perc{model_name="llm",version="1"} 0.25`,
		`vllm:generation_tokens_total{model_name="llm",version="1"} 3`,
		`vllm:time_to_first_token_seconds_bucket{model_name="llm",version="1",le="0.01"} 1`,
		`vllm:request_success_total{finished_reason="stop",model_name="llm",version="1"} 1`,
		`vllm:cache_config_info{block_size="16",model_name="llm",num_gpu_blocks="8",version="1"} 1`,
		"go_goroutines ", `go_gc_duration_seconds{quantile="0.5"} `, "go_threads ", "go_memstats_heap_inuse_bytes ",
	} {
		if !strings.Contains(scraped, want) {
			t.Errorf("no %s in\n%s", want, scraped)
		}
	}
	for _, f := range families {
		if !strings.Contains(scraped, "# TYPE "+f.name+" "+f.kind+"\n") {
			t.Errorf("%s is missing or no %s", f.name, f.kind)
		}
	}
}

func TestNewLogger(t *testing.T) {
	var b bytes.Buffer
	l, err := NewLogger(&b, "json", "warn")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("hidden")
	l.Warn("seen", slog.Int("n", 3))
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil || line["msg"] != "seen" || line["n"] != 3.0 {
		t.Errorf("logged %s", b.String())
	}
	if _, err := NewLogger(&b, "xml", "info"); err == nil {
		t.Error("the format xml was taken")
	}
	if _, err := NewLogger(&b, "text", "loud"); err == nil {
		t.Error("the level loud was taken")
	}
}

func BenchmarkScrape(b *testing.B) {
	c := serve.New(serve.Options{})
	for _, name := range []string{"a", "b", "c", "d"} {
		if err := c.Register(name, 1, servetest.Identity(2), nil); err != nil {
			b.Fatal(err)
		}
	}
	s := Sources{Core: c}
	for b.Loop() {
		s.collect().write(io.Discard)
	}
}

func TestExpositionFormat(t *testing.T) {
	m := &metric{"m_seconds", "histogram", []string{"b", "a"}, "Help with \\ and\nlines."}
	families = append(families, m)
	defer func() { families = families[:len(families)-1] }()
	o := exposition{}
	o.histogram(m, serve.HistogramSnapshot{Bounds: []float64{0.5, 1e-05}, Counts: []uint64{2, 0, 1}, Sum: 3.25}, "x\\\"\n", "y")
	var b strings.Builder
	o.write(&b)
	want := `# HELP m_seconds Help with \\ and\nlines.
# TYPE m_seconds histogram
m_seconds_bucket{a="y",b="x\\\"\n",le="0.5"} 2
m_seconds_bucket{a="y",b="x\\\"\n",le="1e-05"} 2
m_seconds_bucket{a="y",b="x\\\"\n",le="+Inf"} 3
m_seconds_sum{a="y",b="x\\\"\n"} 3.25
m_seconds_count{a="y",b="x\\\"\n"} 3
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// Scrapers ask for gzip.
func TestCompressedScrape(t *testing.T) {
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	Handler(Sources{Core: serve.New(serve.Options{})}).ServeHTTP(w, r)
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !strings.Contains(string(text), "\nsalver_ready 1\n") {
		t.Errorf("%v: %s", err, text)
	}
}

func TestProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel is asked on Linux only")
	}
	text := scrape(t, Sources{Core: serve.New(serve.Options{})})
	for _, m := range []*metric{cpuSeconds, startTime, residentMem, virtualMem, openFiles, mostFiles} {
		_, rest, found := strings.Cut(text, "\n"+m.name+" ")
		value, _, _ := strings.Cut(rest, "\n")
		if v, err := strconv.ParseFloat(value, 64); !found || err != nil || v < 0 || m == startTime && v < 1e9 || m == residentMem && v < 1<<20 {
			t.Errorf("%s is %q", m.name, value)
		}
	}
}
