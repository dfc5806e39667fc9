package contrib

import (
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// A bias that hasn't a number for each column is an error, before kernels read it.
func TestNBitsBias(t *testing.T) {
	n := ir.NewNode(op.Microsoft, "MatMulNBits", 1, nil, nil, map[string]*ir.Attr{"K": ir.Int(16), "N": ir.Int(3), "bits": ir.Int(4), "block_size": ir.Int(16)})
	fact := func(shape ...int) op.Fact {
		return op.Fact{Type: ir.TypeOf(tensor.New(dtype.Float32, shape...)), Present: true}
	}
	for _, c := range []struct {
		bias op.Fact
		ok   bool
	}{{op.Fact{}, true}, {fact(3), true}, {fact(1, 3), true}, {fact(0), false}, {fact(), false}, {fact(4), false}} {
		err := inferNBits(&op.Infer{Node: n, In: []op.Fact{fact(2, 16), {}, {}, {}, {}, c.bias}, Out: make([]op.Fact, 1)})
		if (err == nil) != c.ok {
			t.Errorf("bias %v: %v", c.bias.Shape, err)
		}
	}
}
