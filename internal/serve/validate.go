package serve

import (
	"fmt"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// arrange checks a request against the model and puts its inputs into resp in
// the backend's order, and the positions of the outputs asked for. All problems
// are named in one error. rows is the number of rows that the request counts for.
func (s *servable) arrange(r *Request, resp *Response) (rows int, e *Error) {
	resp.inputs = resp.inBuf[:]
	if len(s.inputs) > len(resp.inBuf) {
		resp.inputs = make([]*tensor.Tensor, len(s.inputs))
	}
	resp.inputs = resp.inputs[:len(s.inputs)]
	var bad problems
	for i := range r.Inputs {
		s.place(&r.Inputs[i], resp.inputs, &bad)
	}
	for i := range s.inputs {
		if resp.inputs[i] == nil && !s.inputs[i].Optional {
			bad.addf("input %q (%s) is missing", s.inputs[i].Name, &s.inputs[i])
		}
	}
	resp.wanted = s.wanted(r, &bad)
	if len(bad) == 0 {
		rows = s.rows(resp.inputs, &bad)
	}
	if len(bad) > 0 {
		return 0, Errorf(InvalidArgument, "model %q version %s: %s", s.name, s.versionText, strings.Join(bad, "; "))
	}
	for i, re := range s.inReshape {
		if re != nil && resp.inputs[i] != nil {
			resp.inputs[i], _ = re.apply(resp.inputs[i]) // checked above to be of the pattern
		}
	}
	return rows, nil
}

// rows checks that all inputs have the same number of rows, and how many.
func (s *servable) rows(inputs []*tensor.Tensor, bad *problems) int {
	if s.config.MaxBatchSize == 0 {
		return 1
	}
	first := -1
	for i, t := range inputs {
		switch {
		case t == nil:
		case first < 0:
			first = i
		case t.Shape[0] != inputs[first].Shape[0]:
			bad.addf("input %q has %d rows and input %q has %d: expected the same batch dimension", s.inputs[first].Name, inputs[first].Shape[0], s.inputs[i].Name, t.Shape[0])
		}
	}
	if first < 0 {
		return 1
	}
	n := inputs[first].Shape[0]
	if n == 0 {
		bad.addf("input %q: the batch is empty: expected at least 1 row", s.inputs[first].Name)
	} else if s.maxRows > 0 && n > s.maxRows {
		bad.addf("input %q: expected at most %d rows (max_batch_size), found %d", s.inputs[first].Name, s.maxRows, n)
	}
	return n
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
	if in.Tensor == nil {
		bad.addf("input %q has no data", in.Name)
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
	if t.Shape != nil && !shapeFits(t.Shape, x.Shape) {
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

// wanted is nil if no outputs are named.
func (s *servable) wanted(r *Request, bad *problems) []int {
	if len(r.Outputs) == 0 {
		return nil
	}
	w := make([]int, 0, len(r.Outputs))
	for _, name := range r.Outputs {
		i := find(s.outputs, name)
		switch {
		case i < 0:
			bad.addf("output %q is unknown; the model's outputs are %s", name, names(s.outputs))
		case slices.Contains(w, i):
			bad.addf("output %q is asked for twice", name)
		default:
			w = append(w, i)
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
