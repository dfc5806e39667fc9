package serve_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/serve/servetest"
	"github.com/salver-ml/salver/internal/tensor"
)

// newCore makes a server with one model "m", and ends it with the test.
func newCore(t *testing.T, b *servetest.Backend, config string) *serve.Core {
	t.Helper()
	c := serve.New(serve.Options{})
	register(t, c, "m", 1, b, config)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

func register(t *testing.T, c *serve.Core, name string, version int64, b *servetest.Backend, config string) {
	t.Helper()
	cfg, err := repo.Parse("config", []byte(config))
	if err == nil {
		err = c.Register(name, version, b, cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func row(vs ...float32) *tensor.Tensor { return tensor.FromSlice(vs, 1, len(vs)) }

func request(x *tensor.Tensor) *serve.Request {
	return &serve.Request{Model: "m", Inputs: []serve.NamedTensor{{Name: "x", Tensor: x}}, Protocol: "test"}
}

// infer sends x and returns y's first value.
func infer(c *serve.Core, ctx context.Context, x *tensor.Tensor) (float32, error) {
	r, err := c.Infer(ctx, request(x))
	if err != nil {
		return 0, err
	}
	defer r.Release()
	return tensor.Of[float32](r.Outputs[0].Tensor)[0], nil
}

func wantKind(t *testing.T, err error, k serve.Kind, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, expected %v", k)
	}
	if e := serve.AsError(err); e.Kind != k {
		t.Errorf("error of kind %v, expected %v: %v", e.Kind, k, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
}

func TestInferAnswers(t *testing.T) {
	b := servetest.Identity(2)
	c := newCore(t, b, "")
	r, err := c.Infer(context.Background(), &serve.Request{Model: "m", Version: "1", ID: "abc", Outputs: []string{"y"},
		Inputs: []serve.NamedTensor{{Name: "x", Tensor: tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2)}}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Model != "m" || r.Version != "1" || r.ID != "abc" || len(r.Outputs) != 1 || r.Outputs[0].Name != "y" ||
		!slices.Equal(tensor.Of[float32](r.Outputs[0].Tensor), []float32{1, 2, 3, 4}) || r.Timing.Batch != 2 {
		t.Errorf("got %+v", r)
	}
	r.Release()
	r.Release()
	if b.Released.Load() != 1 {
		t.Errorf("released %d times", b.Released.Load())
	}
}

func TestRequestsAreChecked(t *testing.T) {
	b := servetest.Identity(2)
	b.In = append(b.In, serve.TensorInfo{Name: "ids", DType: dtype.Int64, Shape: []int{-1, -1}, Optional: true})
	b.Out = append(b.Out, serve.TensorInfo{Name: "z", DType: dtype.Int64, Shape: []int{-1, -1}})
	c := newCore(t, b, "max_batch_size: 4")
	x := func(t *tensor.Tensor) []serve.NamedTensor { return []serve.NamedTensor{{Name: "x", Tensor: t}} }
	short := row(1, 2)
	short.Data = short.Data[:4]
	tests := []struct {
		name string
		r    serve.Request
		kind serve.Kind
		want string
	}{
		{"model", serve.Request{Model: "n"}, serve.NotFound, `no model is called "n"; ready are ["m"]`},
		{"version", serve.Request{Model: "m", Version: "2"}, serve.NotFound, `model "m" has no version "2"; ready are ["1"]`},
		{"nothing", serve.Request{}, serve.InvalidArgument, `input "x" (FP32 [-1,2]) is missing`},
		{"names", serve.Request{Inputs: []serve.NamedTensor{{"a", row(1)}, {"x", row(1, 2)}, {"x", row(1, 2)}}, Outputs: []string{"q", "y", "y"}}, serve.InvalidArgument,
			`input "a" is unknown; the model's inputs are ["x" "ids"]; input "x" is given twice; output "q" is unknown; the model's outputs are ["y" "z"]; output "y" is asked for twice`},
		{"dtype", serve.Request{Inputs: x(tensor.FromSlice([]int32{1, 2}, 1, 2))}, serve.InvalidArgument, `input "x": expected datatype FP32, found INT32`},
		{"rank", serve.Request{Inputs: x(tensor.FromSlice([]float32{1, 2}, 2))}, serve.InvalidArgument, `input "x": expected shape [-1,2], found [2]`},
		{"dims", serve.Request{Inputs: x(row(1, 2, 3))}, serve.InvalidArgument, `input "x": expected shape [-1,2], found [1,3]`},
		{"negative", serve.Request{Inputs: x(&tensor.Tensor{DType: dtype.Float32, Shape: []int{-1, 2}})}, serve.InvalidArgument, `input "x": expected shape [-1,2], found [-1,2]`},
		{"overflow", serve.Request{Inputs: x(&tensor.Tensor{DType: dtype.Float32, Shape: []int{1 << 62, 2}})}, serve.InvalidArgument, `too many elements`},
		{"bytes", serve.Request{Inputs: x(short)}, serve.InvalidArgument, `input "x": shape [1,2] takes 8 bytes of FP32, found 4`},
		{"nil", serve.Request{Inputs: x(nil)}, serve.InvalidArgument, `input "x" has no data`},
		{"empty", serve.Request{Inputs: x(tensor.New(dtype.Float32, 0, 2))}, serve.InvalidArgument, `the batch is empty`},
		{"rows", serve.Request{Inputs: x(tensor.New(dtype.Float32, 5, 2))}, serve.InvalidArgument, `expected at most 4 rows (max_batch_size), found 5`},
		{"unequal", serve.Request{Inputs: append(x(row(1, 2)), serve.NamedTensor{"ids", tensor.New(dtype.Int64, 3, 1)})}, serve.InvalidArgument, `input "x" has 1 rows and input "ids" has 3`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.r.Model == "" {
				tt.r.Model = "m"
			}
			_, err := c.Infer(context.Background(), &tt.r)
			wantKind(t, err, tt.kind, tt.want)
		})
	}
	if b.Runs.Load() != 0 {
		t.Errorf("%d runs of bad requests", b.Runs.Load())
	}
}

func TestErrorsHaveKinds(t *testing.T) {
	b := servetest.Identity(1)
	var fail atomic.Pointer[error]
	b.Func = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) { return in, *fail.Load() }
	c := newCore(t, b, "")
	tests := []struct {
		err  error
		kind serve.Kind
	}{
		{errors.New("gather: index 9 of 3"), serve.Internal},
		{fmt.Errorf("wrapped: %w", serve.Errorf(serve.InvalidArgument, "bad ids")), serve.InvalidArgument},
		{context.DeadlineExceeded, serve.DeadlineExceeded},
		{context.Canceled, serve.Canceled},
	}
	for _, tt := range tests {
		fail.Store(&tt.err)
		_, err := infer(c, context.Background(), row(1))
		wantKind(t, err, tt.kind)
	}
}

func TestCauseOfACancellationIsNoFault(t *testing.T) {
	b := servetest.Identity(1)
	gone := errors.New("the client hung up")
	ctx, cancel := context.WithCancelCause(context.Background())
	b.Func = func(ctx context.Context, _ []*tensor.Tensor) ([]*tensor.Tensor, error) {
		cancel(gone)
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	_, err := infer(newCore(t, b, ""), ctx, row(1))
	wantKind(t, err, serve.Canceled)
}

func TestPanicFailsItsRequestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := servetest.Identity(1)
		b.Func = func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
			time.Sleep(time.Second)
			if slices.Contains(tensor.Of[float32](in[0]), 13) {
				panic("secret 0xc000123")
			}
			return in, nil
		}
		var text strings.Builder
		c := serve.New(serve.Options{Log: slog.New(slog.NewTextHandler(&text, nil))})
		register(t, c, "m", 1, b, "")
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				y, err := infer(c, context.Background(), row(float32(i)))
				if i == 13 {
					wantKind(t, err, serve.Internal)
					if strings.Contains(err.Error(), "secret") {
						t.Errorf("the client sees %v", err)
					}
				} else if err != nil || y != float32(i) {
					t.Errorf("request %d: %v %v", i, y, err)
				}
			})
		}
		wg.Wait()
		if !strings.Contains(text.String(), "secret") {
			t.Error("the log does not tell of the panic")
		}
	})
}

func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := servetest.Identity(1)
		b.Delay = time.Second
		c := newCore(t, b, "max_batch_size: 2 dynamic_batching { default_queue_policy { max_queue_size: 3 } }")
		var ok, full atomic.Int64
		var wg sync.WaitGroup
		for range 10 {
			synctest.Wait()
			wg.Go(func() {
				if _, err := infer(c, context.Background(), row(1)); err == nil {
					ok.Add(1)
				} else if e := serve.AsError(err); e.Kind == serve.ResourceExhausted && e.RetryAfter > 0 {
					full.Add(1)
				} else {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if ok.Load() != 4 || full.Load() != 6 {
			t.Errorf("%d answered and %d refused, expected 4 (one runs, three wait) and 6", ok.Load(), full.Load())
		}
		if m := c.Metrics()[0]; m.Failures[serve.Rejected] != 6 || m.Inference.Fail.Count != 6 || m.Inference.Success.Count != 4 {
			t.Errorf("metrics %+v", m)
		}
	})
}

func TestDeadlineAndQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := servetest.Identity(1)
		b.Delay = time.Second
		c := newCore(t, b, "")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := infer(c, context.Background(), row(1)); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_, err := infer(c, ctx, row(1))
		wantKind(t, err, serve.DeadlineExceeded)
		r := request(row(1))
		r.Timeout = 200 * time.Millisecond
		_, err = c.Infer(context.Background(), r)
		wantKind(t, err, serve.DeadlineExceeded, "longer than its timeout")
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel)
		_, err = infer(c, ctx, row(1))
		wantKind(t, err, serve.Canceled)
		wg.Wait()
		if b.Runs.Load() != 1 {
			t.Errorf("%d runs: requests that were given up ran", b.Runs.Load())
		}
		if n := c.Metrics()[0].Failures[serve.CanceledByClient]; n != 3 {
			t.Errorf("%d canceled, expected 3", n)
		}
	})
}

func TestPriorityLevels(t *testing.T) {
	b := servetest.Identity(1)
	c := newCore(t, b, "dynamic_batching { priority_levels: 2 default_priority_level: 2 }")
	r := request(row(1))
	r.Priority = 3
	_, err := c.Infer(context.Background(), r)
	wantKind(t, err, serve.InvalidArgument, "priority 3: expected 0 (the model's default) to 2")
}

func TestShutdownLosesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	b := servetest.Identity(1)
	b.Delay = 200 * time.Microsecond
	c := serve.New(serve.Options{})
	register(t, c, "m", 1, b, "dynamic_batching { default_queue_policy { max_queue_size: 0 } }")
	var accepted, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for {
				y, err := infer(c, context.Background(), row(float32(i)))
				if err != nil {
					wantKind(t, err, serve.Unavailable, "shutting down")
					refused.Add(1)
					return
				}
				if y != float32(i) {
					t.Errorf("got %g for %d", y, i)
				}
				accepted.Add(1)
			}
		})
	}
	for accepted.Load() < 100 {
		time.Sleep(time.Millisecond)
	}
	c.PrepareShutdown()
	if c.Ready() || !c.Live() {
		t.Error("ready while it prepares to shut down, or not live")
	}
	time.Sleep(10 * time.Millisecond)
	if err := c.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if b.Closed.Load() != 1 || b.Rows.Load() != accepted.Load() || accepted.Load() == 0 || refused.Load() != 32 {
		t.Errorf("closed %d times, %d rows ran, %d answered, %d refused", b.Closed.Load(), b.Rows.Load(), accepted.Load(), refused.Load())
	}
	if c.Live() || c.Refused()[serve.Unavailable] != 32 {
		t.Errorf("live, or counted %v", c.Refused())
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := servetest.Identity(1)
		b.Delay = time.Minute
		c := serve.New(serve.Options{})
		register(t, c, "m", 1, b, "")
		go infer(c, context.Background(), row(1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := c.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || b.Closed.Load() != 0 {
			t.Errorf("got %v, closed %d times", err, b.Closed.Load())
		}
		if err := c.Shutdown(context.Background()); err != nil || b.Closed.Load() != 1 {
			t.Errorf("got %v, closed %d times", err, b.Closed.Load())
		}
	})
}

func TestReplacementWithoutInterruption(t *testing.T) {
	old, fresh := servetest.Identity(1), servetest.Identity(1)
	old.Delay, fresh.Delay = 100*time.Microsecond, 100*time.Microsecond
	c := newCore(t, old, "")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := infer(c, context.Background(), row(1)); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	register(t, c, "m", 1, fresh, "")
	for fresh.Runs.Load() == 0 || old.Closed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	wg.Wait()
	if old.Released.Load() != old.Runs.Load() {
		t.Errorf("the old model ran %d times and was released %d times", old.Runs.Load(), old.Released.Load())
	}
}

func TestVersions(t *testing.T) {
	one, three := servetest.Identity(1), servetest.Identity(1)
	c := newCore(t, one, "")
	register(t, c, "m", 3, three, "")
	if _, err := infer(c, context.Background(), row(1)); err != nil || three.Runs.Load() != 1 {
		t.Errorf("the default version did not run: %v", err)
	}
	r := request(row(1))
	r.Version = "1"
	resp, err := c.Infer(context.Background(), r)
	if err != nil || one.Runs.Load() != 1 || resp.Version != "1" {
		t.Fatalf("version 1 did not run: %v", err)
	}
	resp.Release()
	md, err := c.Metadata("m", "")
	if err != nil || !slices.Equal(md.Versions, []string{"1", "3"}) || md.Platform != "onnxruntime_onnx" || md.Inputs[0].String() != "FP32 [-1,1]" {
		t.Errorf("metadata %+v %v", md, err)
	}
	if st, err := c.Statistics("", ""); err != nil || len(st) != 2 || st[0].ExecutionCount != 1 {
		t.Errorf("statistics %+v %v", st, err)
	}
	if st, err := c.Statistics("m", "3"); err != nil || len(st) != 1 || st[0].Version != "3" {
		t.Errorf("statistics %+v %v", st, err)
	}
	_, err = c.Statistics("n", "")
	wantKind(t, err, serve.NotFound)
	if ok, err := c.ModelReady("m", "3"); !ok || err != nil {
		t.Errorf("version 3: %v %v", ok, err)
	}
	_, err = c.ModelReady("m", "2")
	wantKind(t, err, serve.NotFound)
	want := []serve.IndexEntry{{Name: "m", Version: "1", State: "READY"}, {Name: "m", Version: "3", State: "READY"}}
	if got := c.Index(true); !slices.Equal(got, want) {
		t.Errorf("index %v", got)
	}
}

func TestStatistics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := servetest.Identity(1)
		b.Delay = time.Second
		c := newCore(t, b, "")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := infer(c, context.Background(), row(1)); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		st, err := c.Statistics("m", "1")
		if err != nil {
			t.Fatal(err)
		}
		s := st[0]
		sec := uint64(time.Second)
		want := serve.InferenceStats{Success: serve.DurationStat{4, 7 * sec}, Queue: serve.DurationStat{4, 3 * sec},
			ComputeInput: serve.DurationStat{4, 0}, ComputeInfer: serve.DurationStat{4, 4 * sec}, ComputeOutput: serve.DurationStat{4, 0}}
		if s.Inference != want || s.InferenceCount != 4 || s.ExecutionCount != 2 || s.LastInference != uint64(time.Now().UnixMilli()) {
			t.Errorf("got %+v", s)
		}
		if len(s.Batch) != 2 || s.Batch[1].BatchSize != 3 || s.Batch[1].ComputeInfer != (serve.DurationStat{1, sec}) {
			t.Errorf("batches %+v", s.Batch)
		}
		m := c.Metrics()[0]
		if q := m.Requests["test"].Quantile(0.99); q < 1 || q > 2 {
			t.Errorf("p99 of requests that took 1 s and 2 s is %g s", q)
		}
		if m.Batches.Sum != 4 || m.Batches.Count() != 2 || m.InFlight != 0 || m.Waiting != 0 {
			t.Errorf("got %+v", m)
		}
	})
}

func BenchmarkInfer(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) { benchmarkInfer(b, callers) })
	}
}

func benchmarkInfer(b *testing.B, callers int) {
	c := serve.New(serve.Options{})
	if err := c.Register("m", 1, servetest.Identity(64), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			x := tensor.New(dtype.Float32, 1, 64)
			r := request(x)
			for n.Add(1) <= int64(b.N) {
				resp, err := c.Infer(context.Background(), r)
				if err != nil {
					b.Error(err)
					return
				}
				resp.Release()
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}
