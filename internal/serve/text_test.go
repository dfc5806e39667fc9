package serve_test

import (
	"context"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/textgen"
)

func textCore(t *testing.T) (*serve.Core, *servetest.Text) {
	t.Helper()
	c, m := serve.New(serve.Options{}), servetest.NewText()
	for name, b := range map[string]serve.Backend{"m": m, "e": servetest.NewEncoder(), "t": servetest.Identity(2)} {
		if err := c.Register(name, 1, b, nil); err != nil {
			t.Fatal(err)
		}
	}
	return c, m
}

func TestTextModels(t *testing.T) {
	c, m := textCore(t)
	h, err := c.TextModel("m", "")
	if err != nil || h.Model != m || h.Name != "m" || h.Version != "1" {
		t.Errorf("%+v, %v", h, err)
	}
	h.Release()
	for name, find := range map[string]func(string, string) error{
		"e": func(n, v string) error { _, err := c.TextModel(n, v); return err },
		"m": func(n, v string) error { _, err := c.Embedder(n, v); return err },
		"t": func(n, v string) error { _, err := c.Reranker(n, v); return err },
	} {
		if err := find(name, ""); err == nil || serve.AsError(err).Kind != serve.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		if err := find("nobody", ""); err == nil || serve.AsError(err).Kind != serve.NotFound {
			t.Errorf("nobody: %v", err)
		}
		if err := find(name, "7"); err == nil || serve.AsError(err).Kind != serve.NotFound {
			t.Errorf("version 7: %v", err)
		}
	}
	list := c.TextModels()
	if len(list) != 2 || list[0].Name != "e" || !list[0].Embeds || !list[0].Compares || list[0].Generates || list[1].Name != "m" || !list[1].Generates || list[1].Info.Context != 2048 || time.Since(list[1].Loaded) > time.Minute {
		t.Errorf("%+v", list)
	}
	for name, want := range map[string]string{"m": "salver_text", "e": "salver_text", "t": "onnxruntime_onnx"} {
		if md, err := c.Metadata(name, ""); err != nil || md.Platform != want {
			t.Errorf("%s: %+v, %v", name, md, err)
		}
	}
	for _, s := range c.Metrics() {
		if (s.Text != nil) != (s.Name == "m") {
			t.Errorf("%s: %v", s.Name, s.Text)
		}
	}
}

// What a language model generated counts in Triton's statistics, whoever asked for it.
func TestTextStatistics(t *testing.T) {
	c, m := textCore(t)
	m.Figures(func(s *textgen.Stats) {
		s.Requests["stop"], s.Requests["length"], s.Requests["abort"], s.Steps, s.Request.Sum, s.Queue.Sum = 2, 1, 1, 9, 4, 1
	})
	list, err := c.Statistics("m", "")
	if err != nil {
		t.Fatal(err)
	}
	s := list[0]
	want := serve.InferenceStats{Success: serve.DurationStat{Count: 3, NS: 3e9}, Fail: serve.DurationStat{Count: 1, NS: 1e9}, Queue: serve.DurationStat{Count: 3, NS: 1e9}, ComputeInfer: serve.DurationStat{Count: 3, NS: 3e9}}
	if s.Inference != want || s.InferenceCount != 3 || s.ExecutionCount != 9 {
		t.Errorf("%+v", s)
	}
	for _, s := range c.Metrics() {
		if s.Name == "m" && (s.Failures[serve.CanceledByClient] != 1 || s.Failures[serve.BackendFailed] != 0) {
			t.Errorf("%v", s.Failures)
		}
	}
}

// Vectors and scores count as rows of a request.
func TestCountOfTexts(t *testing.T) {
	c, _ := textCore(t)
	h, err := c.Embedder("e", "")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	h.Count(time.Now(), 3, nil)
	h.Count(time.Now(), 1, textgen.TooLong(9, 8))
	h.Count(time.Now(), 1, context.Canceled)
	for _, m := range c.Metrics() {
		if m.Name != "e" {
			continue
		}
		if m.Inference.Success.Count != 1 || m.InferenceCount != 3 || m.ExecutionCount != 1 || m.Inference.Fail.Count != 2 || m.Failures[serve.OtherFailure] != 1 || m.Failures[serve.CanceledByClient] != 1 {
			t.Errorf("%+v", m)
		}
	}
}

// Neither a newer version nor the server's end takes a model away that is held.
func TestHeldModelStays(t *testing.T) {
	c, m := textCore(t)
	h, err := c.TextModel("m", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Register("m", 1, servetest.NewText(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := c.Shutdown(ctx); err == nil || m.Closed.Load() != 0 {
		t.Errorf("the server ended with %v while a model was held, which was closed %d times", err, m.Closed.Load())
	}
	if _, err := c.TextModel("m", ""); err == nil || serve.AsError(err).Kind != serve.Unavailable {
		t.Errorf("during the end: %v", err)
	}
	h.Release()
	if err := c.Shutdown(context.Background()); err != nil || m.Closed.Load() != 1 {
		t.Errorf("%v, closed %d times", err, m.Closed.Load())
	}
}
