package serve

import (
	"fmt"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// arrange checks a request against the model and orders its inputs as the
// backend takes them. wanted has the positions of the outputs asked for. All
// problems are named in one error.
func (s *servable) arrange(r *Request) (inputs []*tensor.Tensor, wanted []int, err error) {
	inputs = make([]*tensor.Tensor, len(s.inputs))
	var bad problems
	for i := range r.Inputs {
		s.place(&r.Inputs[i], inputs, &bad)
	}
	for i := range s.inputs {
		if inputs[i] == nil && !s.inputs[i].Optional {
			bad.addf("input %q (%s) is missing", s.inputs[i].Name, &s.inputs[i])
		}
	}
	wanted = s.wanted(r, &bad)
	if len(bad) > 0 {
		return nil, nil, Errorf(InvalidArgument, "model %q version %s: %s", s.name, s.versionText, strings.Join(bad, "; "))
	}
	return inputs, wanted, nil
}

type problems []string

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

func find(infos []TensorInfo, name string) int {
	for i := range infos {
		if infos[i].Name == name {
			return i
		}
	}
	return -1
}

func (s *servable) place(in *NamedTensor, inputs []*tensor.Tensor, bad *problems) {
	i := find(s.inputs, in.Name)
	switch {
	case i < 0:
		bad.addf("input %q is unknown; the model's inputs are %s", in.Name, names(s.inputs))
		return
	case inputs[i] != nil:
		bad.addf("input %q is given twice", in.Name)
		return
	}
	inputs[i] = in.Tensor
	s.inputs[i].check(in.Tensor, bad)
}

// check compares a tensor with what the model expects.
func (t *TensorInfo) check(x *tensor.Tensor, bad *problems) {
	if x.DType != t.DType {
		bad.addf("input %q: expected datatype %s, found %s", t.Name, t.DType.OIP(), x.DType.OIP())
		return
	}
	if !shapeFits(t.Shape, x.Shape) {
		bad.addf("input %q: expected shape %s, found %s", t.Name, shapeText(t.Shape), shapeText(x.Shape))
		return
	}
	if n, ok := elements(x.Shape); !ok {
		bad.addf("input %q: shape %s has too many elements", t.Name, shapeText(x.Shape))
	} else if t.DType == dtype.String && len(x.Strings) != n {
		bad.addf("input %q: shape %s has %d elements, found %d strings", t.Name, shapeText(x.Shape), n, len(x.Strings))
	} else if t.DType != dtype.String && len(x.Data) != t.DType.Bytes(n) {
		bad.addf("input %q: shape %s takes %d bytes of %s, found %d", t.Name, shapeText(x.Shape), t.DType.Bytes(n), t.DType.OIP(), len(x.Data))
	}
}

func shapeFits(want, got []int) bool {
	if len(want) != len(got) {
		return false
	}
	for i, d := range got {
		if d < 0 || want[i] >= 0 && want[i] != d {
			return false
		}
	}
	return true
}

// elements multiplies a shape's dimensions; false if it is beyond 2^40.
func elements(shape []int) (int, bool) {
	const most = 1 << 40
	n := 1
	for _, d := range shape {
		if d == 0 {
			return 0, true
		}
		if n > most/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}

func (s *servable) wanted(r *Request, bad *problems) []int {
	if len(r.Outputs) == 0 {
		all := make([]int, len(s.outputs))
		for i := range all {
			all[i] = i
		}
		return all
	}
	w := make([]int, 0, len(r.Outputs))
	for _, name := range r.Outputs {
		if i := find(s.outputs, name); i >= 0 {
			w = append(w, i)
		} else {
			bad.addf("output %q is unknown; the model's outputs are %s", name, names(s.outputs))
		}
	}
	return w
}

// String gives type and shape as the protocol spells them, e.g. "FP32 [-1,10]".
func (t *TensorInfo) String() string { return t.DType.OIP() + " " + shapeText(t.Shape) }

func shapeText(shape []int) string { return strings.ReplaceAll(fmt.Sprint(shape), " ", ",") }

func names(infos []TensorInfo) string {
	var n []string
	for i := range infos {
		n = append(n, infos[i].Name)
	}
	return nameList(n)
}
