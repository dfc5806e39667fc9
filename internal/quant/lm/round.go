package lm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Method is how weights are chosen.
type Method uint8

// The methods.
const (
	Nearest Method = iota // each to the nearest value, with or without importance
	GPTQ                  // errors are made good by the columns that follow
	AWQ                   // columns that count get finer steps
	HQQ                   // zero points that suit heavy tails, without data
)

// String is the method's name.
func (m Method) String() string { return [...]string{"weight-only", "gptq", "awq", "hqq"}[m] }

// Recipe says how the weights of a model are chosen by what it computes on a text.
type Recipe struct {
	Method Method
	GPTQ   weight.GPTQOptions
	Pool   *pool.Pool
	// Precision is that of the products that the model is run with, and of GPTQ's
	// Hessians.
	Precision op.Precision
	// Work is the folder in which what is done is kept, so that a run that was
	// interrupted is continued.
	Work string
	// Progress is told how many chunks have passed stages, of all.
	Progress func(done, all int)
	// Note is told what a user should know; it may be nil.
	Note func(string)
}

func (r *Recipe) note(format string, args ...any) {
	if r.Note != nil {
		r.Note(fmt.Sprintf(format, args...))
	}
}

// A Target is the form in which a model is written: Blocks, Floats or Layers.
type Target interface {
	// scheme says how the weights of a matrix are to be stored; false if the
	// target's own rounding is to do it.
	scheme(t *Tensor) (weight.Scheme, bool)
	// pack gives what is kept of rounded matrices: a file.
	pack(list []rounded) func(io.Writer) error
	// key states what the schemes depend on.
	key() string
}

// rounded is a matrix after rounding.
type rounded struct {
	*Tensor
	q *weight.Quantized
}

// matrixOfTensor decodes a tensor.
func matrixOfTensor(t *Tensor, p *pool.Pool) weight.Matrix {
	w := weight.Matrix{Rows: t.Rows(), Cols: t.Cols(), Data: make([]float32, t.Elems())}
	each := max(chunkElems/w.Cols, 1)
	p.Run((w.Rows+each-1)/each, tasks(func(i int) {
		for r := i * each; r < min((i+1)*each, w.Rows); r++ {
			t.Decode(w.Data[r*w.Cols:(r+1)*w.Cols], r)
		}
	}))
	return w
}

// tasks lets a function be run on a pool.
type tasks func(i int)

// Do runs chunk i.
func (f tasks) Do(i int) { f(i) }

// rounder rounds the matrices of a walk one group after the other.
type rounder struct {
	*walk
	recipe *Recipe
	target Target
	work   *work
}

// enter rounds the products of a stage by GPTQ. What they give for the text is
// what the next stages see.
func (r *rounder) enter(ctx context.Context, stage int, products []*product) (map[string]*Tensor, error) {
	others, im := map[string]*Tensor{}, r.newImportance()
	var done []rounded
	for _, g := range groups(products) {
		a, err := r.activations(g.input, weight.WantHessian)
		if err != nil {
			return nil, err
		}
		for _, name := range namesOf(g.products) {
			t := &r.m.Tensors[r.index[name]]
			im.byTensor[name] = a.MeanSquare()
			s, ok := r.target.scheme(t)
			if !ok || g.experts {
				continue
			}
			q, err := weight.GPTQ(ctx, matrixOfTensor(t, r.pool), a, s, r.recipe.GPTQ, r.pool)
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", name, err)
			}
			if q.Damp > r.recipe.GPTQ.Damp && q.Damp > 0.01 {
				r.recipe.note("%s: the Hessian was not positive definite, damping is %.3g", name, q.Damp)
			}
			if q.Dead > 0 {
				r.recipe.note("%s: %d of %d inputs were always zero on the text; their weights are zero now", name, q.Dead, t.Cols())
			}
			others[name] = r.dequantized(t, q.Quantized)
			done = append(done, rounded{t, q.Quantized})
		}
	}
	if err := r.work.saveImportance(stage, im); err != nil || len(done) == 0 {
		return others, err
	}
	return others, r.work.save(stage, r.target.pack(done))
}

// look notes the importance of columns, and leaves the model as it is.
func (r *rounder) look(ctx context.Context, stage int, products []*product) (map[string]*Tensor, error) {
	im := r.newImportance()
	if err := r.measure(im, products); err != nil {
		return nil, err
	}
	return nil, errors.Join(ctx.Err(), r.work.saveImportance(stage, im))
}

// dequantized is a tensor with the numbers that are left.
func (r *rounder) dequantized(t *Tensor, q *weight.Quantized) *Tensor {
	v := make([]float32, t.Elems())
	q.Dequantize(v, r.pool)
	b := make([]byte, 4*len(v))
	block.Encode(block.F32, b, v)
	size := 4 * t.Cols()
	return &Tensor{Name: t.Name, Format: block.F32, Shape: t.Shape, data: b, Row: func(i int) []byte { return b[i*size : (i+1)*size] }}
}

// group is the products of a stage that read the same values.
type group struct {
	input    *ir.Value
	products []*product
	experts  bool
}

// groups are in the order of the products.
func groups(products []*product) (list []*group) {
	for _, p := range products {
		var g *group
		for _, have := range list {
			if have.input == p.input {
				g = have
			}
		}
		if g == nil {
			g = &group{input: p.input}
			list = append(list, g)
		}
		g.products = append(g.products, p)
		g.experts = g.experts || p.experts()
	}
	return list
}
