package serve_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
)

// shelf is a repository in a temporary folder, and the fake models made from it.
type shelf struct {
	t    *testing.T
	dir  string
	mu   sync.Mutex
	open []*servetest.Backend
	gate chan struct{} // if set, loading waits for it
}

func newShelf(t *testing.T) *shelf { return &shelf{t: t, dir: t.TempDir()} }

// put writes a file of the repository; a model file with the text "bad" can't be loaded and "panic" panics.
func (s *shelf) put(name, content string) {
	s.t.Helper()
	p := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) load(ctx context.Context, r serve.OpenRequest) (serve.Backend, error) {
	if s.gate != nil {
		<-s.gate
	}
	src, err := os.ReadFile(r.Path)
	if err != nil {
		return nil, err
	}
	switch string(src) {
	case "bad":
		return nil, errors.New("the file is truncated")
	case "panic":
		panic("index out of range")
	}
	b := servetest.Identity(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, b)
	return b, nil
}

func (s *shelf) core(control serve.Control, atStart ...string) *serve.Core {
	s.t.Helper()
	r, err := repo.Open(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	c := serve.New(serve.Options{Open: s.load, Repositories: []*repo.Repository{r}, Control: control, LoadAtStart: atStart, LoadThreads: 2})
	s.t.Cleanup(func() {
		if err := c.Shutdown(context.Background()); err != nil {
			s.t.Error(err)
		}
		for i, b := range s.open {
			if b.Closed.Load() != 1 {
				s.t.Errorf("model %d was closed %d times", i, b.Closed.Load())
			}
		}
	})
	return c
}

func index(c *serve.Core) string {
	var lines []string
	for _, e := range c.Index(false) {
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s/%s %s", e.Name, e.Version, e.State), " "))
	}
	return strings.Join(lines, ", ")
}

func wantIndex(t *testing.T, c *serve.Core, want string) {
	t.Helper()
	for range 200 { // unloading ends in the background
		if index(c) == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("index\n got %s\nwant %s", index(c), want)
}

func TestLoadAll(t *testing.T) {
	s := newShelf(t)
	s.put("a/config.pbtxt", "version_policy { all {} }")
	s.put("a/1/model.onnx", "")
	s.put("a/10/model.onnx", "")
	s.put("b/1/model.onnx", "bad")
	s.put("c/1/model.onnx", "panic")
	s.put("d/config.pbtxt", "runtime: \"x\"")
	s.put("d/1/model.onnx", "")
	c := s.core(serve.ControlNone)
	if c.Ready() {
		t.Error("ready before LoadAll")
	}
	err := c.LoadAll(context.Background())
	for _, want := range []string{`model "b" version 1: the file is truncated`, `model "c" version 1: the file can't be loaded`, "config.pbtxt:1:1: runtime: not supported"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if c.Ready() {
		t.Error("ready though models are not")
	}
	wantIndex(t, c, "a/1 READY, a/10 READY, b/1 UNAVAILABLE, c/1 UNAVAILABLE, d/ UNAVAILABLE")
	r := request(row(1))
	r.Model = "b"
	_, err = c.Infer(context.Background(), r)
	wantKind(t, err, serve.Unavailable, `model "b" version 1 is not ready`)
	if ok, err := c.ModelReady("b", ""); ok || err != nil {
		t.Errorf("b is ready: %v %v", ok, err)
	}
	wantKind(t, c.Load(context.Background(), "a"), serve.InvalidArgument, "--model-control-mode=none")
	wantKind(t, c.Unload(context.Background(), "a"), serve.InvalidArgument, "--model-control-mode=none")
}

func TestExplicitControl(t *testing.T) {
	ctx := context.Background()
	s := newShelf(t)
	s.put("a/1/model.onnx", "")
	s.put("b/1/model.onnx", "")
	c := s.core(serve.ControlExplicit, "b")
	if err := c.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, c, "a/, b/1 READY")
	if !c.Ready() {
		t.Error("not ready")
	}
	wantKind(t, c.Load(ctx, "z"), serve.NotFound)
	wantKind(t, c.Load(ctx, "../b"), serve.NotFound)
	wantKind(t, c.Unload(ctx, "a"), serve.NotFound)
	if err := c.Load(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, c, "a/1 READY, b/1 READY")
	if err := c.Unload(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, c, "a/1 UNAVAILABLE, b/1 READY")
	if got := c.Index(true); len(got) != 1 || !c.Ready() {
		t.Errorf("ready ones %v, ready %v", got, c.Ready())
	}
	_, err := c.ModelReady("a", "")
	wantKind(t, err, serve.NotFound, "unloaded")
	if err := c.LoadConfig(ctx, "a", []byte(`{"max_batch_size": 3}`)); err != nil {
		t.Fatal(err)
	}
	if cfg, err := c.Config("a", ""); err != nil || cfg.MaxBatchSize != 3 {
		t.Errorf("config %+v %v", cfg, err)
	}
	wantKind(t, c.LoadConfig(ctx, "a", []byte(`{"max_batch_size": 3, "runtime": "x"}`)), serve.InvalidArgument, "runtime: not supported")
}

func TestReload(t *testing.T) {
	ctx := context.Background()
	s := newShelf(t)
	s.put("m/1/model.onnx", "")
	c := s.core(serve.ControlExplicit, "*")
	if err := c.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	held, err := c.Infer(ctx, request(row(7)))
	if err != nil {
		t.Fatal(err)
	}
	s.put("m/2/model.onnx", "")
	if err := c.Load(ctx, "m"); err != nil {
		t.Fatal(err)
	}
	wantIndex(t, c, "m/2 READY")
	if s.open[0].Closed.Load() != 0 {
		t.Error("the old version was closed while a response of it is held")
	}
	held.Release()
	s.put("m/3/model.onnx", "bad")
	wantKind(t, c.Load(ctx, "m"), serve.InvalidArgument, `model "m" version 3: the file is truncated`)
	wantIndex(t, c, "m/2 READY, m/3 UNAVAILABLE")
	if _, err := infer(c, ctx, row(1)); err != nil || !c.Ready() {
		t.Errorf("the old version does not go on: %v", err)
	}
}

func TestLoadsOfOneModelTakeTurns(t *testing.T) {
	ctx := context.Background()
	s := newShelf(t)
	s.put("m/1/model.onnx", "")
	s.gate = make(chan struct{})
	c := s.core(serve.ControlExplicit)
	if err := c.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := c.Load(ctx, "m"); err != nil {
				t.Error(err)
			}
		})
	}
	wantIndex(t, c, "m/1 LOADING")
	if c.Ready() {
		t.Error("ready while loading")
	}
	_, err := infer(c, ctx, row(1))
	wantKind(t, err, serve.Unavailable, "LOADING")
	close(s.gate)
	wg.Wait()
	wantIndex(t, c, "m/1 READY")
}

// TestReloadsUnderLoad reloads a model again and again while it is asked: no
// request may fail, and every backend is closed.
func TestReloadsUnderLoad(t *testing.T) {
	ctx := context.Background()
	s := newShelf(t)
	s.put("m/1/model.onnx", "")
	c := s.core(serve.ControlExplicit, "*")
	if err := c.LoadAll(ctx); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if y, err := infer(c, ctx, row(float32(i))); err != nil || y != float32(i) {
					t.Errorf("caller %d, request %d: %g %v", i, n, y, err)
					return
				}
			}
		})
	}
	for i := range 100 {
		s.put(fmt.Sprintf("m/%d/model.onnx", 2+i%3), "")
		if err := c.Load(ctx, "m"); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestTwoRepositoriesWithOneName(t *testing.T) {
	a, b := newShelf(t), newShelf(t)
	a.put("m/1/model.onnx", "")
	b.put("m/1/model.onnx", "")
	ra, _ := repo.Open(a.dir)
	rb, _ := repo.Open(b.dir)
	c := serve.New(serve.Options{Open: a.load, Repositories: []*repo.Repository{ra, rb}})
	wantKind(t, c.LoadAll(context.Background()), serve.InvalidArgument, `the model "m" is in`)
}

func TestLabels(t *testing.T) {
	s := newShelf(t)
	s.put("m/config.pbtxt", `output { name: "y" label_filename: "labels.txt" }`)
	s.put("m/labels.txt", "no\nyes\n")
	s.put("m/1/model.onnx", "")
	c := s.core(serve.ControlNone)
	if err := c.LoadAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if l, err := c.Labels("m", "", "y"); err != nil || !slices.Equal(l, []string{"no", "yes"}) {
		t.Errorf("%q %v", l, err)
	}
}
