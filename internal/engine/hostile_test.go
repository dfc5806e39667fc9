package engine_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// What a small hostile model may take on its way from the file to an answer.
const (
	hostileTime   = 10 * time.Second
	hostileMemory = 1 << 30 // bytes allocated in all
	hostileLimit  = 64 << 20
)

// TestHostileModels changes real small models at random and takes them the whole
// way: each is refused, or fails, or answers, in bounded time and memory.
func TestHostileModels(t *testing.T) {
	tries := 30_000 // the same ones each time; FuzzEngine goes on from there
	if testing.Short() {
		tries = 3_000
	}
	models := smallModels(t)
	r := rand.New(rand.NewPCG(3, 4))
	answered := 0
	for range tries {
		m := models[r.IntN(len(models))]
		b := m.file
		for range 1 + r.IntN(3) {
			b = mutate(r, b)
		}
		if tryModel(t, m.name, b) {
			answered++
		}
	}
	t.Logf("%d changed models, %d of them answer", tries, answered)
	if answered == 0 {
		t.Error("no changed model answered: the changes are too wild to test anything")
	}
}

func FuzzEngine(f *testing.F) {
	for _, m := range smallModels(f) {
		f.Add(m.file)
	}
	f.Fuzz(func(t *testing.T, b []byte) { tryModel(t, "", b) })
}

type smallModel struct {
	name string
	file []byte
}

// smallModels gives the demo's models and, where the test material is there,
// those of it that are small.
func smallModels(t testing.TB) []smallModel {
	var models []smallModel
	for _, d := range demo.Models() {
		models = append(models, smallModel{d.Name, d.ONNX})
	}
	if file, err := testkit.Find(t, "models/mnist/mnist.onnx"); err != nil {
		t.Log(err)
	} else if b, err := os.ReadFile(file); err != nil {
		t.Fatal(err)
	} else {
		models = append(models, smallModel{"mnist", b})
	}
	for _, archive := range []string{"ort-graphs/graphs.zip", "onnx-backend/node.zip"} {
		file, err := testkit.Find(t, archive)
		if err != nil {
			t.Log(err)
			continue
		}
		z, err := zip.OpenReader(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range z.File {
			if strings.HasSuffix(f.Name, ".onnx") && f.UncompressedSize64 < 4<<10 {
				models = append(models, smallModel{f.Name, unzip(t, f)})
			}
		}
		z.Close()
	}
	return models
}

func unzip(t testing.TB, f *zip.File) []byte {
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tryModel takes a model the whole way and reports whether it answered. Where it
// answers without optimization, it answers the same with it.
func tryModel(t *testing.T, name string, b []byte) (answered bool) {
	start, before := testkit.Clock(), allocated()
	var err error
	fail := func(format string, args ...any) {
		file := filepath.Join(t.ArtifactDir(), "hostile.onnx")
		if os.WriteFile(file, b, 0o644) == nil {
			t.Logf("the model is %s, made from %s", file, name)
		}
		t.Errorf(format, args...)
	}
	defer func() {
		var defect *exec.PanicError
		if p := recover(); p != nil {
			fail("%s: panics: %v\n%s", name, p, debug.Stack())
		} else if errors.As(err, &defect) {
			fail("%s: %v\n%s", name, defect, defect.Stack)
		}
		if d := testkit.Clock() - start; d > hostileTime {
			fail("%s: takes %v", name, d)
		}
		if n := allocated() - before; n > hostileMemory {
			fail("%s: allocates %d MiB", name, n>>20)
		}
	}()
	out, err := answer(b, pass.MaxLevel)
	if errors.Is(err, errRefused) {
		return false
	}
	plain, plainErr := answer(b, 0)
	if plainErr != nil || isRandom(b) {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) { // the plain one came just within the time of a run
		return false
	}
	if err != nil && !errors.As(err, new(*exec.PanicError)) {
		fail("%s: answers at level 0, but at level %d: %v", name, pass.MaxLevel, err)
		return false
	}
	steps := 0.0
	if bytes.Contains(b, []byte("QuantizeLinear")) {
		steps = quantizedSteps
	}
	for i := range out {
		if d := sameAnswer(out[i], plain[i], steps); d != nil {
			fail("%s: output %d at level %d: %v", name, i, pass.MaxLevel, d)
		}
	}
	return err == nil
}

// isRandom reports whether two runs of a model may differ.
func isRandom(b []byte) bool {
	return slices.ContainsFunc([]string{"Random", "Bernoulli", "Multinomial", "Dropout"}, func(s string) bool { return bytes.Contains(b, []byte(s)) })
}

var errRefused = errors.New("refused")

// answer runs a model on small random inputs.
func answer(b []byte, level int) ([]*tensor.Tensor, error) {
	e, err := engine.Parse(b, engine.Options{Level: level, MaxMemory: hostileLimit})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	defer e.Close()
	in, ok := smallInputs(e.Graph())
	if !ok {
		return nil, errRefused
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return e.Run(ctx, in)
}

// quantizedSteps is the share of numbers that may differ by a step of their
// quantization, however large that is: integer convolutions round biases to the
// scale of the products.
const quantizedSteps = 0.01

// sameAnswer compares an answer with the one expected, numbers loosely, and but for
// a share of them.
func sameAnswer(got, want *tensor.Tensor, share float64) error {
	if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || !slices.Equal(got.Strings, want.Strings) || len(got.Items) != len(want.Items) {
		return fmt.Errorf("found %s, expected %s", got, want)
	}
	for i := range want.Items {
		if err := sameAnswer(got.Items[i], want.Items[i], share); err != nil {
			return err
		}
	}
	if !want.DType.IsFloat() || want.DType.Bits() < 16 {
		return nil
	}
	most := 0.0
	g, w := num.Floats(got), num.Floats(want)
	for _, v := range w {
		if !math.IsInf(v, 0) && !math.IsNaN(v) {
			most = max(most, math.Abs(v))
		}
	}
	var first error
	off := 0
	for i, v := range w {
		if d := math.Abs(g[i] - v); d > 1e-2*most+1e-6 && !math.IsInf(d, 0) { // overflows may differ, NaN compares false
			if off++; first == nil {
				first = fmt.Errorf("element %d is %v, expected %v", i, g[i], v)
			}
		}
	}
	if float64(off) <= share*float64(len(w)) {
		return nil
	}
	return first
}

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// smallInputs makes random inputs; false if the model wants large ones.
func smallInputs(g *ir.Graph) ([]*tensor.Tensor, bool) {
	r := rand.New(rand.NewPCG(5, 6))
	symbols := map[string]int{}
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		dims := make([]int, len(v.Type.Shape))
		for j, d := range v.Type.Shape {
			n, fixed := d.Int()
			if !fixed {
				if _, ok := symbols[d.String()]; !ok {
					symbols[d.String()] = []int{0, 1, 2, 3, 5}[r.IntN(5)]
				}
				n = symbols[d.String()]
			}
			dims[j] = n
		}
		if v.Type.DType == dtype.Invalid || tensor.CheckSize(dims) != nil || tensor.Count(dims) > 1<<16 {
			return nil, false
		}
		in[i] = tensor.New(v.Type.DType, dims...)
		randomize(r, in[i])
	}
	return in, true
}

func randomize(r *rand.Rand, t *tensor.Tensor) {
	if t.DType == dtype.Float32 {
		for i := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = float32(r.NormFloat64())
		}
		return
	}
	size := max(t.DType.Bits()/8, 1)
	for i := range t.Data {
		if i%size == 0 || t.DType.IsFloat() {
			t.Data[i] = byte(r.IntN(4))
		}
	}
}
