package ml

import (
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "SVMClassifier", Versions: []int{1}, Doc: "support vector machines for pairs of classes, which vote; the scores are the machines', or the classes' probabilities with prob_a and prob_b",
		In: op.Ports("X:T1"), Out: op.Ports("Y:T2", "Z:float32"), Types: op.Types{"T1": features, "T2": labelTypes},
		Attrs: op.Attrs{"classlabels_ints": op.Opt(ir.KindInts), "classlabels_strings": op.Opt(ir.KindStrings), "coefficients": op.Required(ir.KindFloats),
			"kernel_params": op.Opt(ir.KindFloats), "kernel_type": op.Default(ir.Str("LINEAR")), "post_transform": op.Default(ir.Str("NONE")),
			"prob_a": op.Opt(ir.KindFloats), "prob_b": op.Opt(ir.KindFloats), "rho": op.Required(ir.KindFloats),
			"support_vectors": op.Opt(ir.KindFloats), "vectors_per_class": op.Opt(ir.KindInts)},
		Infer: inferSVMClassifier, Ref: ref(newSVMClassifierKernel), Compile: compile(newSVMClassifierKernel), Rows: rowsMatrix,
		Cases: svmClassifierCases{},
	})
}

type svmClassifierCases struct{}

func (svmClassifierCases) Cases() []op.Case {
	two := map[string]*ir.Attr{"classlabels_ints": ir.Ints(4, 5), "coefficients": ir.Floats(1, -1), "rho": ir.Floats(.5), "support_vectors": ir.Floats(1, 0, 0, 1), "vectors_per_class": ir.Ints(1, 1)}
	three := map[string]*ir.Attr{"classlabels_strings": ir.Strs("a", "b", "c"), "kernel_type": ir.Str("RBF"), "kernel_params": ir.Floats(.5, 0, 3), "rho": ir.Floats(.1, -.2, 0),
		"coefficients": ir.Floats(1, -1, -.5, .5, 1, -1), "support_vectors": ir.Floats(1, 0, 0, 1, 1, 1), "vectors_per_class": ir.Ints(1, 1, 1)}
	likely := map[string]*ir.Attr{"prob_a": ir.Floats(-2, -1, -3), "prob_b": ir.Floats(0, .1, -.1)}
	for k, a := range three {
		likely[k] = a
	}
	x := tensor.FromSlice([]float32{1, 2, 3, 1}, 2, 2)
	return []op.Case{
		{Name: "two classes", In: []*tensor.Tensor{x}, Attrs: two, Out: []*tensor.Tensor{tensor.FromSlice([]int64{5, 4}), tensor.FromSlice([]float32{.5, -.5, -2.5, 2.5}, 2, 2)}},
		{Name: "votes of three", In: []*tensor.Tensor{x}, Attrs: three, Out: []*tensor.Tensor{tensor.FromStrings([]string{"c", "c"}, 2),
			tensor.FromSlice([]float32{-.13254416, -.4355977, -.23865122, .170976, -.22662514, -.12422629}, 2, 3)}},
		{Name: "probabilities", In: []*tensor.Tensor{x}, Attrs: likely, Out: []*tensor.Tensor{tensor.FromStrings([]string{"c", "c"}, 2),
			tensor.FromSlice([]float32{.24994774, .27792335, .47212884, .3228922, .27213997, .4049679}, 2, 3)}},
		{Name: "a function for each class", In: []*tensor.Tensor{x}, Attrs: map[string]*ir.Attr{"classlabels_ints": ir.Ints(4, 5), "coefficients": ir.Floats(1, 0, 0, -1), "rho": ir.Floats(.5)},
			Out: []*tensor.Tensor{tensor.FromSlice([]int64{5, 5}), tensor.FromSlice([]float32{1.5, -1.5, 3.5, -.5}, 2, 2)}},
	}
}

// svmClassifier decides between each two of the classes. Without support vectors it
// has a linear function for each class instead.
type svmClassifier struct {
	like          svmKernel
	labels        labels
	coefs, rho    []float32
	vectors       []float32
	first         []int // of each class: its first support vector; one more: how many there are
	width         int   // features
	probA, probB  []float32
	positive      bool // all coefficients are
	post          string
	after         transform
	row           []float64
	likeness      []float64   // of the input and each support vector
	pairs, scores []float64   // of each two classes; of each class
	beats         [][]float64 // the probability that one class is right rather than another
	votes         []int
}

// pairsOf counts the pairs of n classes.
func pairsOf(n int) int { return n * (n - 1) / 2 }

func newSVMClassifier(n *ir.Node) (*svmClassifier, error) {
	names, err := newLabels(n, "classlabels_ints")
	if err != nil {
		return nil, err
	}
	k := &svmClassifier{labels: names, coefs: n.Floats("coefficients"), rho: n.Floats("rho"), vectors: n.Floats("support_vectors"),
		probA: n.Floats("prob_a"), probB: n.Floats("prob_b"), post: n.Str("post_transform")}
	classes := names.len()
	if classes > maxTargets {
		return nil, fmt.Errorf("%d classes, expected at most %d", classes, maxTargets)
	}
	if k.after, err = postTransform(k.post); err != nil {
		return nil, err
	}
	if k.like, err = newSVMKernel(n); err != nil {
		return nil, err
	}
	k.positive = !slices.ContainsFunc(k.coefs, func(c float32) bool { return !(c >= 0) })
	k.first = []int{0}
	for i, c := range n.Ints("vectors_per_class") {
		if c < 0 || c > len(k.vectors) {
			return nil, fmt.Errorf("vectors_per_class: class %d has %d, expected 0 to %d", i, c, len(k.vectors))
		}
		k.first = append(k.first, k.first[i]+c)
	}
	if k.supports() == 0 {
		return k, k.checkLinear()
	}
	return k, k.checkVectors(len(k.first) - 1)
}

func (k *svmClassifier) supports() int { return k.first[len(k.first)-1] }

func (k *svmClassifier) checkLinear() error {
	classes := k.labels.len()
	if len(k.coefs) == 0 || len(k.coefs)%classes != 0 || len(k.rho) == 0 {
		return fmt.Errorf("%d coefficients and %d numbers in rho, expected a multiple of %d and at least 1", len(k.coefs), len(k.rho), classes)
	}
	k.like, k.width, k.scores = dot, len(k.coefs)/classes, make([]float64, classes)
	return nil
}

func (k *svmClassifier) checkVectors(counts int) error {
	classes, supports := k.labels.len(), k.supports()
	pairs := pairsOf(classes)
	switch {
	case counts != classes:
		return fmt.Errorf("vectors_per_class has %d elements, expected %d as there are classes", counts, classes)
	case classes < 2:
		return fmt.Errorf("%d class, expected 2 at least", classes)
	case len(k.vectors)%supports != 0:
		return fmt.Errorf("support_vectors has %d elements, expected a multiple of %d", len(k.vectors), supports)
	case len(k.coefs)/(classes-1) < supports:
		return fmt.Errorf("%d coefficients, expected %d for each of %d support vectors", len(k.coefs), classes-1, supports)
	case len(k.rho) < pairs:
		return fmt.Errorf("rho has %d elements, expected %d", len(k.rho), pairs)
	case len(k.probA) != len(k.probB) || len(k.probA) > 0 && len(k.probA) < pairs:
		return fmt.Errorf("prob_a and prob_b have %d and %d elements, expected %d each or none", len(k.probA), len(k.probB), pairs)
	}
	k.width, k.likeness, k.pairs, k.votes = len(k.vectors)/supports, make([]float64, supports), make([]float64, pairs), make([]int, classes)
	k.scores = make([]float64, k.outputs())
	if len(k.probA) > 0 {
		for range classes {
			k.beats = append(k.beats, make([]float64, classes))
		}
	}
	return nil
}

// outputs counts the scores of a row.
func (k *svmClassifier) outputs() int {
	if classes := k.labels.len(); k.supports() > 0 && len(k.probA) == 0 && classes > 2 {
		return pairsOf(classes)
	}
	return k.labels.len()
}

func inferSVMClassifier(c *op.Infer) error {
	rows, err := rowCount(c.In[0])
	if err != nil {
		return err
	}
	k, err := newSVMClassifier(c.Node)
	if err != nil {
		return err
	}
	c.Set(0, k.labels.dtype(), shape.Shape{rows})
	c.Set(1, scoreType, shape.Shape{rows, shape.Const(k.outputs())})
	return nil
}

func newSVMClassifierKernel(n *ir.Node) (op.Kernel, error) {
	k, err := newSVMClassifier(n)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Run scores the rows of input 0.
func (k *svmClassifier) Run(c *op.Call) error {
	x, err := newFeatures(c.In[0], k.width)
	if err != nil {
		return err
	}
	y := k.labels.output(c, x.rows)
	z := matrix{c.Output(1, scoreType, x.rows, k.outputs()), x.rows, k.outputs()}
	for i := range x.rows {
		k.row = x.row(i, k.row)
		if k.supports() == 0 {
			k.labels.set(y, i, k.linear())
		} else {
			k.labels.set(y, i, k.vote())
		}
		z.setRow(i, k.scores)
	}
	return nil
}

// linear scores a row by a function for each class, and chooses one: of two classes
// the second is chosen when any score speaks for it, as onnxruntime does.
func (k *svmClassifier) linear() (class int) {
	for i := range k.scores {
		k.scores[i] = dot(k.row, k.coefs[i*k.width:]) + float64(k.rho[0])
	}
	class = argmax(k.scores)
	if top := k.scores[class]; len(k.scores) == 2 && len(k.probA) == 0 && (k.positive && top >= .5 || !k.positive && top > 0) {
		class = 1
	}
	if len(k.scores) > 1 || k.post == "PROBIT" {
		k.after(k.scores)
	}
	return class
}

// vote scores a row by the machines of all pairs, and chooses the class for which
// most of them are.
func (k *svmClassifier) vote() int {
	for i := range k.likeness {
		k.likeness[i] = k.like(k.row, k.vectors[i*k.width:])
	}
	clear(k.votes)
	pair, classes := 0, len(k.votes)
	for i := range classes {
		for j := i + 1; j < classes; j++ {
			s := float64(k.rho[pair]) + k.part(j-1, i) + k.part(i, j)
			k.pairs[pair] = s
			if s > 0 {
				k.votes[i]++
			} else {
				k.votes[j]++
			}
			pair++
		}
	}
	class := 0
	for i, v := range k.votes {
		if v > k.votes[class] {
			class = i
		}
	}
	k.score()
	return class
}

// part is what the support vectors of a class add to a decision, by a row of the coefficients.
func (k *svmClassifier) part(row, class int) (s float64) {
	coefs := k.coefs[row*len(k.likeness):]
	for i := k.first[class]; i < k.first[class+1]; i++ {
		s += float64(float64(coefs[i]) * k.likeness[i])
	}
	return s
}

// score makes the scores of a row of what its pairs decided.
func (k *svmClassifier) score() {
	switch {
	case k.beats != nil:
		k.probabilities()
		k.after(k.scores)
	case len(k.votes) > 2:
		copy(k.scores, k.pairs)
		k.after(k.scores)
	default:
		twoScores(k.pairs[0], k.scores, k.post != "NONE", k.post)
	}
}

// probabilities couples the probabilities of pairs to those of classes, by the second
// method of Wu, Lin and Weng, with the steps and the end that LIBSVM gives it.
func (k *svmClassifier) probabilities() {
	const least = 1e-7
	classes, pair := len(k.votes), 0
	for i := range classes {
		for j := i + 1; j < classes; j++ {
			p := logistic(-(k.pairs[pair]*float64(k.probA[pair]) + float64(k.probB[pair])))
			p = min(max(p, least), 1-least)
			k.beats[i][j], k.beats[j][i] = p, 1-p
			pair++
		}
	}
	q := func(i, j int) float64 {
		if i != j {
			return -k.beats[j][i] * k.beats[i][j]
		}
		sum := 0.
		for o := range classes {
			if o != i {
				sum += float64(k.beats[o][i] * k.beats[o][i])
			}
		}
		return sum
	}
	p, qp := k.scores, make([]float64, classes)
	for i := range p {
		p[i] = 1 / float64(classes)
	}
	for range max(100, classes) {
		pqp, off := 0., 0.
		for i := range p {
			qp[i] = 0
			for j := range p {
				qp[i] += float64(q(i, j) * p[j])
			}
			pqp += float64(p[i] * qp[i])
		}
		for _, v := range qp {
			off = max(off, math.Abs(v-pqp))
		}
		if off < .005/float64(classes) {
			return
		}
		for i := range p {
			own := q(i, i)
			d := (pqp - qp[i]) / own
			p[i] += d
			pqp = (pqp + float64(d*(float64(d*own)+2*qp[i]))) / (1 + d) / (1 + d)
			for j := range p {
				qp[j] = (qp[j] + float64(d*q(i, j))) / (1 + d)
				p[j] /= 1 + d
			}
		}
	}
}
