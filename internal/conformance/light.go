package conformance

import (
	"fmt"
	"io/fs"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// lightSet is the data of the ONNX backend's light models: outputs are in
// MODEL_output_N.pb, and the inputs are those that its test runner makes:
// element i of n is i/n.
type lightSet struct{ stem string }

// lightOutput is the file of a light model's output.
func lightOutput(model string, i int) string {
	return fmt.Sprintf("%s_output_%d.pb", strings.TrimSuffix(model, ".onnx"), i)
}

func (s lightSet) read(fsys fs.FS, g *ir.Graph) ([]*tensor.Tensor, map[string]*tensor.Tensor, error) {
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if v.Type.DType != dtype.Float32 {
			return nil, nil, fmt.Errorf("input %q is %s, expected float32", v.Name, v.Type)
		}
		in[i] = ramp(v.Type)
	}
	out := map[string]*tensor.Tensor{}
	for i, o := range g.Outputs {
		raw, err := fs.ReadFile(fsys, lightOutput(s.stem, i))
		if err != nil {
			return nil, nil, err
		}
		if out[o.Name], err = onnx.ParseValue(raw, o.Value.Type); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", lightOutput(s.stem, i), err)
		}
	}
	return in, out, nil
}

// ramp makes an input whose symbolic dimensions are 1.
func ramp(t ir.Type) *tensor.Tensor {
	dims := []int{}
	for _, d := range t.Shape {
		n, ok := d.Int()
		if !ok {
			n = 1
		}
		dims = append(dims, n)
	}
	x := tensor.New(dtype.Float32, dims...)
	v := tensor.Of[float32](x)
	for i := range v {
		v[i] = float32(float64(i) / float64(len(v)))
	}
	return x
}
