package tensorops

import (
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// The product of wanted sizes wraps around to the input's number of elements.
func TestReshapeToSizesWhoseProductWraps(t *testing.T) {
	x := tensor.FromSlice([]float32{}, 0)
	for _, want := range [][]int64{{1 << 32, 1 << 32}, {1<<32 + 1, -1}} {
		in := []*tensor.Tensor{x, tensor.FromSlice(want)}
		n := ir.NewNode("", "Reshape", op.MaxOpset, []*ir.Value{ir.NewConst("", x), ir.NewConst("", in[1])}, []*ir.Value{ir.NewValue("y", ir.Type{})}, nil)
		if err := op.Complete(n); err != nil {
			t.Fatal(err)
		}
		c := &op.Call{Context: t.Context(), Node: n, In: in}
		if err := op.Of(n).Ref(c); err == nil || !strings.Contains(err.Error(), "expected at most") {
			t.Errorf("shape %v: got %v, %v", want, c.Out, err)
		}
	}
}
