package conformance

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// lightSet is the data of the ONNX backend's light models: outputs are in
// MODEL_output_N.pb, and the inputs are those that its test runner makes:
// element i of n is i/n.
type lightSet struct{ prefix string }

// light makes the case of a light model, or nil if p has no outputs beside it.
func (s *source) light(p string) *Case {
	l := lightSet{strings.TrimSuffix(p, ".onnx")}
	if !exists(s.fsys, l.output(0)) {
		return nil
	}
	return &Case{Name: l.prefix, Category: s.manifest[path.Dir(p)].category, fsys: s.fsys, model: p, rule: rule{kind: backendRule}, sets: []set{l}}
}

// output is the file of an output.
func (l lightSet) output(i int) string { return fmt.Sprintf("%s_output_%d.pb", l.prefix, i) }

func (l lightSet) read(fsys fs.FS, g *ir.Graph) ([]*tensor.Tensor, map[string]*tensor.Tensor, error) {
	in := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if v.Type.DType != dtype.Float32 {
			return nil, nil, fmt.Errorf("input %q is %s, expected float32", v.Name, v.Type)
		}
		x, err := ramp(v.Type)
		if err != nil {
			return nil, nil, fmt.Errorf("input %q: %w", v.Name, err)
		}
		in[i] = x
	}
	out := map[string]*tensor.Tensor{}
	for i, o := range g.Outputs {
		v, err := readValue(fsys, l.output(i), o.Value.Type)
		if err != nil {
			return nil, nil, err
		}
		out[o.Name] = v
	}
	return in, out, nil
}

// readValue reads a TensorProto, SequenceProto or OptionalProto, whichever the type asks for.
func readValue(fsys fs.FS, file string, t ir.Type) (*tensor.Tensor, error) {
	raw, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, err
	}
	v, err := onnx.ParseValue(raw, t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(file), err)
	}
	return v, nil
}

// ramp makes an input whose symbolic dimensions are 1.
func ramp(t ir.Type) (*tensor.Tensor, error) {
	dims := []int{}
	for _, d := range t.Shape {
		n, ok := d.Int()
		if !ok {
			n = 1
		}
		dims = append(dims, n)
	}
	if err := tensor.CheckSize(dims); err != nil {
		return nil, err
	}
	x := tensor.New(dtype.Float32, dims...)
	v := tensor.Of[float32](x)
	for i := range v {
		v[i] = float32(float64(i) / float64(len(v)))
	}
	return x, nil
}
