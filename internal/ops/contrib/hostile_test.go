package contrib_test

import (
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/contrib"
	"github.com/salver-ml/salver/internal/ops/optest"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }

func TestHostileTypes(t *testing.T) {
	optest.HostileOnce(t, op.Microsoft, "QLinearConcat", op.Case{Attrs: map[string]*ir.Attr{"axis": ir.Int(0)}, In: []*tensor.Tensor{
		tensor.Scalar[float32](1), tensor.Scalar[uint8](0), tensor.FromSlice([]uint8{1}), tensor.Scalar[float32](1), tensor.New(dtype.Complex64)}})
}
