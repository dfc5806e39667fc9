package salver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/salver-ml/salver"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
)

func open(t *testing.T, options ...salver.Option) *salver.Session {
	t.Helper()
	m, err := salver.Open("internal/demo/models/digits.onnx", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// images makes n pictures of noise.
func images(n int) *salver.Tensor {
	rng := rand.New(rand.NewPCG(1, 2))
	v := make([]float32, n*28*28)
	for i := range v {
		v[i] = rng.Float32()
	}
	return salver.FromSlice(v, n, 1, 28, 28)
}

func run(t *testing.T, m *salver.Session, in *salver.Tensor) []byte {
	t.Helper()
	return tensorOf(t, m, in).Data
}

// The bits of an answer are the same alone and in a batch, on one thread and on several.
func TestAnswersDoNotDependOnCompany(t *testing.T) {
	const n = 7
	in := images(n)
	want := run(t, open(t, salver.WithThreads(1)), in)
	for _, threads := range []int{1, 3} {
		m := open(t, salver.WithThreads(threads))
		if !bytes.Equal(run(t, m, in), want) {
			t.Errorf("a batch of %d on %d threads differs", n, threads)
		}
		for i := range n {
			one := salver.FromSlice(salver.Data[float32](in)[i*784:(i+1)*784], 1, 1, 28, 28)
			if !bytes.Equal(run(t, m, one), want[i*40:(i+1)*40]) {
				t.Errorf("row %d alone on %d threads differs from row %d of %d", i, threads, i, n)
			}
		}
	}
}

func TestConcurrentRuns(t *testing.T) {
	m := open(t, salver.WithThreads(2))
	inputs := []*salver.Tensor{images(1), images(2), images(3)}
	var want [][]byte
	for _, in := range inputs {
		want = append(want, run(t, m, in))
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 20 {
				k := (g + i) % len(inputs)
				if !bytes.Equal(run(t, m, inputs[k]), want[k]) {
					t.Errorf("goroutine %d, run %d: another answer", g, i)
				}
			}
		})
	}
	wg.Wait()
}

func TestRunIntoAllocatesNothing(t *testing.T) {
	m := open(t, salver.WithThreads(1))
	in, out := []*salver.Tensor{images(1)}, []*salver.Tensor{salver.NewTensor(salver.Float32, 1, 10)}
	ctx := context.Background()
	several := []*salver.Tensor{images(3)}
	severalOut := []*salver.Tensor{salver.NewTensor(salver.Float32, 3, 10)}
	once := func() {
		if err := m.RunInto(ctx, in, out); err != nil {
			t.Fatal(err)
		}
		if err := m.RunInto(ctx, several, severalOut); err != nil {
			t.Fatal(err)
		}
	}
	once() // of the shapes that come back, the second time has plans that stay
	if allocs := testing.AllocsPerRun(20, once); allocs != 0 {
		t.Errorf("%v allocations per run, expected none", allocs)
	}
	runtime.KeepAlive(out)
}

// Close waits for the runs in progress; those that come later fail, in a handler too.
func TestCloseBesideRuns(t *testing.T) {
	m := open(t, salver.WithThreads(2))
	h, err := salver.Handler(map[string]*salver.Session{"digits": m})
	if err != nil {
		t.Fatal(err)
	}
	in := images(2)
	want := run(t, m, in)
	var wg sync.WaitGroup
	begun := make(chan bool, 8)
	for range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				out := []*salver.Tensor{nil}
				err := m.RunInto(context.Background(), []*salver.Tensor{in}, out)
				if errors.Is(err, fs.ErrClosed) {
					return
				}
				if err != nil || !bytes.Equal(out[0].Data, want) {
					t.Errorf("run %d: another answer, %v", n, err)
					return
				}
				if n == 3 {
					begun <- true
				}
			}
		})
	}
	for range 8 {
		<-begun
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := m.Run(context.Background(), map[string]*salver.Tensor{m.Inputs()[0].Name: in}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a run after Close: %v", err)
	}
	answer := httptest.NewRecorder()
	body := fmt.Sprintf(`{"inputs": [{"name": %q, "datatype": "FP32", "shape": [1, 1, 28, 28], "data": [%s0]}]}`, m.Inputs()[0].Name, strings.Repeat("0,", 783))
	h.ServeHTTP(answer, httptest.NewRequest("POST", "http://localhost/v2/models/digits/infer", strings.NewReader(body)))
	if answer.Code != http.StatusServiceUnavailable || !strings.Contains(answer.Body.String(), "not open any more") {
		t.Errorf("a request after Close: %d %s", answer.Code, answer.Body)
	}
	if err := m.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// Outputs of another type or shape are refused before anything is computed, by name.
func TestRunIntoWrongOutputs(t *testing.T) {
	m := open(t, salver.WithThreads(1))
	in := []*salver.Tensor{images(2)}
	short := salver.NewTensor(salver.Float32, 2, 10)
	short.Data = short.Data[:40]
	for _, out := range [][]*salver.Tensor{
		{salver.NewTensor(salver.Float32, 1, 10)},
		{salver.NewTensor(salver.Float32, 20)},
		{salver.NewTensor(salver.Int32, 2, 10)},
		{short},
	} {
		err := m.RunInto(context.Background(), in, out)
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", m.Outputs()[0].Name)) {
			t.Errorf("%v: %v", out, err)
		}
		if slices.ContainsFunc(out[0].Data, func(b byte) bool { return b != 0 }) {
			t.Errorf("%v was written", out)
		}
	}
	if err := m.RunInto(context.Background(), in, make([]*salver.Tensor, 2)); err == nil {
		t.Error("room for two outputs: expected an error")
	}
}

func TestOutputsHaveTheLabelsOfTheModel(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x float32[2]
  %p = ai.onnx.ml::ZipMap(%x) {classlabels_int64s = [-1, 1]}
  output %p
}
`, 17)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": 17, "ai.onnx.ml": 3}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	m, err := salver.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := m.Outputs()[0].Labels; !slices.Equal(got, []string{"-1", "1"}) {
		t.Errorf("labels %q, expected -1 and 1", got)
	}
}

func TestErrors(t *testing.T) {
	m := open(t)
	ctx := context.Background()
	for _, c := range []struct {
		name   string
		inputs map[string]*salver.Tensor
		want   string
	}{
		{"missing", nil, `input "image"`},
		{"unknown", map[string]*salver.Tensor{"image": images(1), "picture": images(1)}, `no input ["picture"]`},
		{"type", map[string]*salver.Tensor{"image": salver.NewTensor(salver.Int8, 1, 1, 28, 28)}, "found int8"},
		{"rank", map[string]*salver.Tensor{"image": salver.NewTensor(salver.Float32, 28, 28)}, "float32[28,28]"},
		{"short", map[string]*salver.Tensor{"image": {DType: salver.Float32, Shape: []int{1, 1, 28, 28}, Data: make([]byte, 8)}}, "8"},
	} {
		if _, err := m.Run(ctx, c.inputs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected an error with %s, found %v", c.name, c.want, err)
		}
	}
	for _, o := range []salver.Option{salver.WithThreads(0), salver.WithLevel(4), salver.WithoutPasses("none-such")} {
		if _, err := salver.Open("internal/demo/models/digits.onnx", o); err == nil {
			t.Error("expected an error")
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := m.Run(cancelled, map[string]*salver.Tensor{"image": images(1)}); err == nil {
		t.Error("a cancelled run gave an answer")
	}
}

// The references answer as the kernels do, within the rounding of float32, and whoever asks
// for an arithmetic or a cache that is not there is told so.
func TestOptions(t *testing.T) {
	in := images(1)
	fast := salver.Data[float32](tensorOf(t, open(t), in))
	slow := salver.Data[float32](tensorOf(t, open(t, salver.WithReference()), in))
	for i, v := range fast {
		if d := v - slow[i]; d > 1e-5 || d < -1e-5 {
			t.Errorf("score %d is %v by kernels and %v by references", i, v, slow[i])
		}
	}
	for want, option := range map[string]salver.Option{"fp12": salver.WithPrecision("fp12"), "nothing.json": salver.WithTuning("nothing.json")} {
		if _, err := salver.Open("internal/demo/models/digits.onnx", option); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected an error that names %s, found %v", want, err)
		}
	}
}

func tensorOf(t *testing.T, m *salver.Session, in *salver.Tensor) *salver.Tensor {
	t.Helper()
	out, err := m.Run(context.Background(), map[string]*salver.Tensor{"image": in})
	if err != nil {
		t.Fatal(err)
	}
	return out["probabilities"]
}
