package engine_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// decoder has a mask of as many columns as there are scores, by a name of its own.
const decoder = `
graph "decoder" {
  input %q float32[batch,seq,4]
  input %k float32[batch,seq,4]
  input %past float32[batch,past,4]
  input %mask float32[batch,1,total]
  %keys = Concat(%past, %k) {axis=1}
  %turned = Transpose(%keys) {perm=[0,2,1]}
  %scores = MatMul(%q, %turned)
  %masked = Add(%scores, %mask)
  %w = Softmax(%masked) {axis=-1}
  %y = MatMul(%w, %keys)
  output %y
  output %keys
}
`

func decoderFile(t *testing.T) []byte {
	t.Helper()
	g, err := ir.Parse(decoder, 17)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Where the sizes are the sum that the optimized graph states, and where a tensor of one
// column is repeated instead, the answers are those of the graph as it is in the file.
func TestSizesThatBreakATieRunToo(t *testing.T) {
	b := decoderFile(t)
	tied, err := engine.Parse(b, engine.Options{Level: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer tied.Close()
	plain, err := engine.Parse(b, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got := tied.Graph().Inputs[3].Type.Shape.String(); got != "[batch,1,past+seq]" {
		t.Fatalf("the mask is %s", got)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	for _, c := range []struct{ seq, past, total int }{{1, 3, 4}, {2, 3, 5}, {2, 3, 1}, {1, 0, 7}, {1, 4, 5}, {3, 0, 3}, {1, 0, 3}, {2, 2, 3}} {
		in := []*tensor.Tensor{tensor.New(dtype.Float32, 2, c.seq, 4), tensor.New(dtype.Float32, 2, c.seq, 4), tensor.New(dtype.Float32, 2, c.past, 4), tensor.New(dtype.Float32, 2, 1, c.total)}
		for _, x := range in {
			for i := range tensor.Of[float32](x) {
				tensor.Of[float32](x)[i] = rng.Float32()
			}
		}
		want, wantErr := plain.Run(context.Background(), in)
		got, gotErr := tied.Run(context.Background(), in)
		if (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("%+v: %v, the file's graph says %v", c, gotErr, wantErr)
		}
		if _, err := tied.PlanFor(in); (err == nil) != (wantErr == nil) {
			t.Errorf("%+v: a plan: %v", c, err)
		}
		for i := range want {
			if d := engine.Deviation([][]*tensor.Tensor{{got[i]}}, [][]*tensor.Tensor{{want[i]}}); !(d < 1e-5) || !slices.Equal(got[i].Shape, want[i].Shape) {
				t.Errorf("%+v: output %d deviates by %g", c, i, d)
			}
		}
	}
}
