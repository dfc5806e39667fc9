package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "LinearRegressor", Versions: []int{1}, Doc: "weighted sums of the features",
		In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": features},
		Attrs: op.Attrs{"coefficients": op.Opt(ir.KindFloats), "intercepts": op.Opt(ir.KindFloats), "post_transform": op.Default(ir.Str("NONE")), "targets": op.Default(ir.Int(1))},
		Infer: inferLinearRegressor, Ref: ref(newLinearRegressor), Compile: compile(newLinearRegressor), Rows: rowsMatrix,
		Cases: linearRegressorCases{},
	})
	op.Register(&op.Op{
		Domain: domain, Name: "LinearClassifier", Versions: []int{1}, Doc: "the class with the greatest weighted sum of the features, and all classes' scores",
		In: op.Ports("X:T1"), Out: op.Ports("Y:T2", "Z:float32"), Types: op.Types{"T1": features, "T2": labelTypes},
		Attrs: op.Attrs{"coefficients": op.Required(ir.KindFloats), "intercepts": op.Opt(ir.KindFloats), "post_transform": op.Default(ir.Str("NONE")),
			"multi_class": op.Default(ir.Int(0)), "classlabels_strings": op.Opt(ir.KindStrings), "classlabels_ints": op.Opt(ir.KindInts)},
		Infer: inferClassifier("classlabels_ints"), Ref: ref(newLinearClassifier), Compile: compile(newLinearClassifier), Rows: rowsMatrix,
		Cases: linearClassifierCases{},
	})
}

type linearRegressorCases struct{}

func (linearRegressorCases) Cases() []op.Case {
	return []op.Case{{Name: "two targets", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2)}, Out: []*tensor.Tensor{tensor.FromSlice([]float32{3, 0, 7, 0}, 2, 2)},
		Attrs: map[string]*ir.Attr{"targets": ir.Int(2), "coefficients": ir.Floats(1, 1, 1, -1), "intercepts": ir.Floats(0, 1)}}}
}

type linearClassifierCases struct{}

func (linearClassifierCases) Cases() []op.Case {
	x := tensor.FromSlice([]float32{1, 2, 3, 1}, 2, 2)
	return []op.Case{
		{Name: "two scores", In: []*tensor.Tensor{x}, Attrs: map[string]*ir.Attr{"classlabels_ints": ir.Ints(4, 5), "coefficients": ir.Floats(1, 0, 0, 1)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int64{5, 4}), tensor.FromSlice([]float32{1, 2, 3, 1}, 2, 2)}},
	}
}

// sums is a matrix of coefficients, one row for each sum, with intercepts.
type sums struct {
	n                 int
	coefs, intercepts []float32
	row, scores       []float64
	after             transform
}

func newSums(n *ir.Node, count int) (*sums, error) {
	s := &sums{n: count, coefs: n.Floats("coefficients"), intercepts: n.Floats("intercepts")}
	if count < 1 || count > maxTargets || len(s.coefs)%count != 0 || len(s.intercepts) != 0 && len(s.intercepts) != count {
		return nil, fmt.Errorf("%d coefficients and %d intercepts, expected a multiple of %d and none or %d", len(s.coefs), len(s.intercepts), count, count)
	}
	s.scores = make([]float64, count)
	var err error
	s.after, err = postTransform(n.Str("post_transform"))
	return s, err
}

func (s *sums) width() int { return len(s.coefs) / s.n }

// each computes the sums of every row of x and calls f with its number.
func (s *sums) each(x matrix, f func(row int)) {
	for i := range x.rows {
		s.row = x.row(i, s.row)
		for k := range s.scores {
			s.scores[k] = 0
			for j, v := range s.row {
				s.scores[k] += float64(v * float64(s.coefs[k*x.width+j]))
			}
			if len(s.intercepts) > 0 {
				s.scores[k] += float64(s.intercepts[k])
			}
		}
		f(i)
	}
}

func inferLinearRegressor(c *op.Infer) error {
	rows, err := rowCount(c.In[0])
	if err != nil {
		return err
	}
	if _, err := newSums(c.Node, c.Node.Int("targets")); err != nil {
		return err
	}
	c.Set(0, scoreType, shape.Shape{rows, shape.Const(c.Node.Int("targets"))})
	return nil
}

func newLinearRegressor(n *ir.Node) (op.Kernel, error) {
	s, err := newSums(n, n.Int("targets"))
	if err != nil {
		return nil, err
	}
	return op.KernelFunc(func(c *op.Call) error {
		x, err := newFeatures(c.In[0], s.width())
		if err != nil {
			return err
		}
		y := matrix{c.Output(0, scoreType, x.rows, s.n), x.rows, s.n}
		s.each(x, func(row int) {
			s.after(s.scores)
			y.setRow(row, s.scores)
		})
		return nil
	}), nil
}

// linearClassifier computes a sum for each class, or one for two classes.
type linearClassifier struct {
	*sums
	labels labels
	post   string
	both   []float64 // scores of two classes of which one was computed
}

func newLinearClassifier(n *ir.Node) (op.Kernel, error) {
	names, err := newLabels(n, "classlabels_ints")
	if err != nil {
		return nil, err
	}
	count := names.len()
	if k := len(n.Floats("intercepts")); k == 1 && count == 2 {
		count = 1
	}
	s, err := newSums(n, count)
	if err != nil {
		return nil, err
	}
	return &linearClassifier{s, names, n.Str("post_transform"), make([]float64, 2)}, nil
}

// Run scores the rows of input 0.
func (k *linearClassifier) Run(c *op.Call) error {
	x, err := newFeatures(c.In[0], k.width())
	if err != nil {
		return err
	}
	y := k.labels.output(c, x.rows)
	z := matrix{c.Output(1, scoreType, x.rows, k.labels.len()), x.rows, k.labels.len()}
	k.each(x, func(row int) {
		class := argmax(k.scores)
		scores := k.scores
		if len(scores) < k.labels.len() {
			class = 0
			if scores[0] > 0 {
				class = 1
			}
			twoScores(scores[0], k.both, true, k.post)
			scores = k.both
		} else {
			k.after(scores)
		}
		k.labels.set(y, row, class)
		z.setRow(row, scores)
	})
	return nil
}
