package tensorops

import (
	"runtime"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// A tensor without elements takes no memory however long its other dimensions are, so that a
// model can have it. Neither do kernels.
func TestEmptyTensorsOfLongDimensions(t *testing.T) {
	const long = 1 << 29
	floats := func(dims ...int) *tensor.Tensor { return tensor.New(dtype.Float32, dims...) }
	ids := func(dims ...int) *tensor.Tensor { return tensor.New(dtype.Int64, dims...) }
	for _, c := range []struct {
		name  string
		attrs map[string]*ir.Attr
		in    []*tensor.Tensor
	}{
		{"ScatterElements", attr("axis", 1), []*tensor.Tensor{floats(long, 0), ids(long, 0), floats(long, 0)}},
		{"ScatterElements", attr("axis", 0), []*tensor.Tensor{floats(long, 0), ids(long, 0), floats(long, 0)}},
		{"ScatterND", nil, []*tensor.Tensor{floats(0, 5), ids(long, 0), floats(long, 0, 5)}},
		{"GatherND", nil, []*tensor.Tensor{floats(3, 0), ids(long, 1, 0)}},
		{"Pad", attr("mode", "edge"), []*tensor.Tensor{floats(0, 3), vec(0, 0, 0, long)}},
		{"Pad", attr("mode", "constant"), []*tensor.Tensor{floats(0, 3), vec(0, 0, 0, long)}},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		k, call := compiled(t, c.name, c.attrs, c.in...)
		run := op.Of(call.Node).Ref
		if k != nil {
			run = k.Run
		}
		if err := run(call); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s allocated %d bytes", c.name, n)
		}
	}
}
