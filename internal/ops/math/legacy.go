package math

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/pointwise"
)

// legacy registers the forms of opset 6, once those of opset 7 are there.
func legacy() {
	for _, name := range []string{"Add", "Sub", "Mul", "Div"} {
		pointwise.RegisterLegacy(name, 6)
	}
	pointwise.RegisterLegacy("Pow", 1)
	pointwise.RegisterLegacyChannels("PRelu", 6)
	gemm := *op.Find("", "Gemm", 7)
	gemm.Versions = []int{1, 6}
	gemm.Attrs = op.Attrs{"broadcast": op.Default(ir.Int(0))} // C stretches as it does since
	for name, spec := range op.Find("", "Gemm", 7).Attrs {
		gemm.Attrs[name] = spec
	}
	op.Register(&gemm)
}
