package lm

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Measure runs the model on a text to learn how much the columns of its matrices
// count. Of the recipe, Pool, Precision and Progress are used; values that cross
// between products are kept beside Work, for the time being.
func Measure(ctx context.Context, m *Model, text *Text, r Recipe) (*Importance, error) {
	dir, err := os.MkdirTemp(filepath.Dir(r.Work), ".salver-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r.Work = dir
	w, err := newWalk(m, text, &r)
	if err != nil {
		return nil, err
	}
	im := w.newImportance()
	err = w.run(ctx, 0, func(ctx context.Context, _ int, products []*product) (map[string]*Tensor, error) {
		return nil, errors.Join(ctx.Err(), w.measure(im, products))
	}, nil)
	if err != nil {
		return nil, err
	}
	return im, im.check()
}

// measure adds the importance of the columns of products.
func (w *walk) measure(im *Importance, products []*product) error {
	for _, g := range groups(products) {
		a, err := w.activations(g.input, 0)
		if err != nil {
			return err
		}
		for _, name := range namesOf(g.products) {
			im.byTensor[name] = a.MeanSquare()
		}
	}
	return nil
}

// newImportance is of the walk's text.
func (w *walk) newImportance() *Importance {
	return &Importance{Dataset: w.text.Name, Chunks: len(w.text.Chunks), Size: len(w.text.Chunks[0]), byTensor: map[string][]float32{}}
}

// gatheredRows is about how many tokens are taken in at a time: the more there are,
// the less often a Hessian passes through memory.
const gatheredRows = 2048

// activations gathers what products read.
func (w *walk) activations(input *ir.Value, want weight.Want) (*weight.Activations, error) {
	cols, _ := input.Type.Shape[len(input.Type.Shape)-1].Int()
	if w.precision == op.BF16 {
		want |= weight.WantBF16
	}
	a := weight.NewActivations(cols, want)
	var rows []float32
	err := w.each(input, func(x []float32) error {
		if rows = append(rows, x...); len(rows) < gatheredRows*cols {
			return nil
		}
		err := a.Add(rows, w.pool)
		rows = rows[:0]
		return err
	})
	if err != nil {
		return nil, err
	}
	return a, a.Add(rows, w.pool)
}
