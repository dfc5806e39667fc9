package ml

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	for _, versions := range [][]int{{1}, {3, 5}} {
		attrs := treeAttrs("class", versions[0])
		attrs["classlabels_strings"], attrs["classlabels_int64s"] = op.Opt(ir.KindStrings), op.Opt(ir.KindInts)
		op.Register(&op.Op{
			Domain: domain, Name: "TreeEnsembleClassifier", Versions: versions, Doc: "the class that decision trees give most weight, and all classes' scores",
			In: op.Ports("X:T1"), Out: op.Ports("Y:T2", "Z:float32"), Types: op.Types{"T1": features, "T2": labelTypes}, Attrs: attrs,
			Infer: inferClassifier("classlabels_int64s"), Ref: ref(newTreeClassifier), Compile: compile(newTreeClassifier), Rows: rowsMatrix, Cases: treeClassifierCases{},
		})
	}
}

// treeClassifier sums votes for classes. Where there are two classes and all
// votes are for the same, it is a binary classifier with one score.
type treeClassifier struct {
	ensemble *ensemble
	labels   labels
	post     string
	after    transform
	binary   bool
	voteFor  int  // the class of all votes of a binary classifier
	positive bool // all its votes are: its score is a probability
}

func newTreeClassifier(n *ir.Node) (op.Kernel, error) {
	f, err := listForest(n, "class")
	if err != nil {
		return nil, err
	}
	base, err := floatList(n, "base_values")
	if err != nil {
		return nil, err
	}
	names, err := newLabels(n, "classlabels_int64s")
	if err != nil {
		return nil, err
	}
	after, err := postTransform(n.Str("post_transform"))
	if err != nil {
		return nil, err
	}
	if len(base) > names.len() {
		return nil, fmt.Errorf("%d base values, expected at most %d", len(base), names.len())
	}
	k := &treeClassifier{ensemble: &ensemble{forest: f, targets: names.len(), base: base, how: "SUM"}, labels: names, post: n.Str("post_transform"), after: after}
	k.findBinary()
	return k, k.ensemble.prepare()
}

func (k *treeClassifier) findBinary() {
	if k.labels.len() != 2 || len(k.ensemble.base) == 2 {
		return
	}
	positive, class := true, -1
	for _, votes := range k.ensemble.leaves {
		for _, v := range votes {
			if class >= 0 && class != v.target {
				return
			}
			positive, class = positive && v.weight >= 0, v.target
		}
	}
	k.binary, k.positive, k.voteFor = true, positive, max(class, 0)
}

// Run scores the rows of input 0.
func (k *treeClassifier) Run(c *op.Call) error {
	x, err := newMatrix(c.In[0])
	if err != nil {
		return err
	}
	e := k.ensemble
	y := k.labels.output(c, x.rows)
	z := matrix{c.Output(1, scoreType, x.rows, e.targets), x.rows, e.targets}
	return e.each(x, func(row int) {
		for i, b := range e.base {
			e.scores[i] += b
		}
		class := k.most()
		if k.binary {
			class = k.binaryClass()
		}
		if k.binary && k.voteFor == 0 {
			twoScores(e.scores[0], e.scores, k.positive, k.post)
		} else {
			k.after(e.scores)
		}
		k.labels.set(y, row, class)
		z.setRow(row, e.scores)
	})
}

// most is the class with the greatest score, of those that have one.
func (k *treeClassifier) most() int {
	e, best := k.ensemble, -1
	for i, s := range e.scores {
		if (e.voted[i] || i < len(e.base)) && (best < 0 || s > e.scores[best]) {
			best = i
		}
	}
	return max(best, 0)
}

// binaryClass compares the one score with a half if it is a probability, else
// with zero.
func (k *treeClassifier) binaryClass() int {
	limit := 0.
	if k.positive {
		limit = .5
	}
	if k.ensemble.scores[k.voteFor] > limit {
		return 1
	}
	return 0
}

type treeClassifierCases struct{}

func (treeClassifierCases) Cases() []op.Case {
	attrs := stumps()
	attrs["classlabels_strings"] = ir.Strs("a", "b", "c")
	attrs["class_treeids"], attrs["class_nodeids"] = ir.Ints(0, 0, 1, 1, 1), ir.Ints(1, 2, 1, 2, 2)
	attrs["class_ids"], attrs["class_weights"] = ir.Ints(0, 1, 2, 0, 1), ir.Floats(1, 1, 1.5, .25, .25)
	x := tensor.FromSlice([]float32{0, 0, 0, 3, 1, 0}, 3, 2)
	binary := stumps()
	binary["classlabels_int64s"], binary["post_transform"] = ir.Ints(7, 9), ir.Str("LOGISTIC")
	binary["class_treeids"], binary["class_nodeids"] = ir.Ints(0, 0, 1, 1), ir.Ints(1, 2, 1, 2)
	binary["class_ids"], binary["class_weights"] = ir.Ints(0, 0, 0, 0), ir.Floats(1, -1, -2, .5)
	negative := stumps()
	negative["classlabels_int64s"] = ir.Ints(7, 8, 9)
	negative["class_treeids"], negative["class_nodeids"] = ir.Ints(0, 0, 1, 1), ir.Ints(1, 2, 1, 2)
	negative["class_ids"], negative["class_weights"] = ir.Ints(1, 2, 1, 2), ir.Floats(-1, -2, -1, -2)
	return []op.Case{
		{Name: "a class without votes isn't chosen", In: []*tensor.Tensor{x}, Attrs: negative,
			Out: []*tensor.Tensor{tensor.FromSlice([]int64{8, 8, 9}), tensor.FromSlice([]float32{0, -1, -2, 0, -2, 0, 0, 0, -4}, 3, 3)}},
		{Name: "three classes", In: []*tensor.Tensor{x}, Attrs: attrs,
			Out: []*tensor.Tensor{tensor.FromStrings([]string{"a", "c", "b"}, 3), tensor.FromSlice([]float32{1.25, .25, 0, 1, 0, 1.5, .25, 1.25, 0}, 3, 3)}},
		{Name: "binary", In: []*tensor.Tensor{x}, Attrs: binary,
			Out: []*tensor.Tensor{tensor.FromSlice([]int64{9, 7, 7}), tensor.FromSlice([]float32{.18242552, .81757448, .73105858, .26894142, .62245933, .37754067}, 3, 2)}},
	}
}

func inferClassifier(intLabels string) func(*op.Infer) error {
	return func(c *op.Infer) error {
		rows, err := rowCount(c.In[0])
		if err != nil {
			return err
		}
		names, err := newLabels(c.Node, intLabels)
		if err != nil {
			return err
		}
		c.Set(0, names.dtype(), shape.Shape{rows})
		c.Set(1, scoreType, shape.Shape{rows, shape.Const(names.len())})
		return nil
	}
}
