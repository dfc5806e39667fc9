package engine_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// The answer to one request does not depend on the others: its bits are the
// same alone, in a batch, and on any number of threads. docs/NUMERICS.md is the
// contract; these tests hold whole models to it at every instruction-set level.

func TestAnswersDoNotDependOnBatchOrThreads(t *testing.T) {
	for _, level := range cpu.Levels() {
		t.Run(level.String(), func(t *testing.T) {
			defer cpu.Force(level)()
			for _, precision := range []op.Precision{op.FP32, op.BF16} {
				if precision.Available() == nil {
					t.Run(precision.String(), func(t *testing.T) { answersDoNotDepend(t, level, precision) })
				}
			}
		})
	}
}

func answersDoNotDepend(t *testing.T, level cpu.Target, precision op.Precision) {
	for _, d := range demo.Models() {
		t.Run(d.Name, func(t *testing.T) {
			solo := parse(t, d.ONNX, nil, precision)
			in := solo.Graph().Inputs[0].Type
			shape := []int{9}
			for _, dim := range in.Shape[1:] {
				n, _ := dim.Int()
				shape = append(shape, n)
			}
			x := tensor.New(dtype.Float32, shape...)
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range tensor.Of[float32](x) {
				tensor.Of[float32](x)[i] = rng.Float32()
			}
			sameRows(t, solo, parse(t, d.ONNX, pool.New(3), precision), x)
		})
	}
	t.Run("magika", func(t *testing.T) {
		if level == cpu.Generic && testing.Short() {
			t.Skip("slow without vector instructions")
		}
		dir := testkit.Assets(t, "models/magika-v3_3")
		golden, err := npy.ReadArchive(filepath.Join(dir, "golden_0.npz"))
		if err != nil {
			t.Fatal(err)
		}
		x := rows(golden["in_bytes"], 0, 5)
		open := func(p *pool.Pool) *engine.Engine {
			e, err := engine.Load(filepath.Join(dir, "magika.onnx"), engine.Options{Level: pass.MaxLevel, Pool: p, Precision: precision})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { e.Close() })
			return e
		}
		sameRows(t, open(nil), open(pool.New(3)), x)
	})
}

func parse(t *testing.T, model []byte, p *pool.Pool, precision op.Precision) *engine.Engine {
	e, err := engine.Parse(model, engine.Options{Level: pass.MaxLevel, Pool: p, Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// rows is the part [from, to) of a batch.
func rows(t *tensor.Tensor, from, to int) *tensor.Tensor {
	n := len(t.Data) / t.Shape[0]
	return &tensor.Tensor{DType: t.DType, Shape: append([]int{to - from}, t.Shape[1:]...), Data: t.Data[from*n : to*n]}
}

// sameRows compares every row computed alone on one thread with the same row in
// batches of other sizes on several.
func sameRows(t *testing.T, solo, threaded *engine.Engine, x *tensor.Tensor) {
	t.Helper()
	n := x.Shape[0]
	want := make([][]byte, n)
	for i := range n {
		want[i] = first(t, solo, rows(x, i, i+1)).Data
	}
	for _, size := range slices.Compact([]int{1, 2, 3, n - 1, n}) {
		for _, e := range []*engine.Engine{solo, threaded} {
			for from := 0; from < n; from += size {
				to := min(from+size, n)
				got := first(t, e, rows(x, from, to))
				for i := from; i < to; i++ {
					if !bytes.Equal(rows(got, i-from, i-from+1).Data, want[i]) {
						t.Errorf("row %d differs in a batch of %d", i, to-from)
					}
				}
			}
		}
	}
}

func first(t *testing.T, e *engine.Engine, x *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	out, err := e.Run(context.Background(), []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// TestPrecisionWithoutTiles: a precision that this machine lacks is refused.
func TestPrecisionWithoutTiles(t *testing.T) {
	defer cpu.Force(cpu.Generic)()
	_, err := engine.Parse(demo.Models()[0].ONNX, engine.Options{Precision: op.BF16})
	if err == nil || !strings.Contains(err.Error(), "AMX") || !strings.Contains(err.Error(), "fp32") {
		t.Errorf("bf16 at level generic: %v, want an error that says what is missing and what to use", err)
	}
}
