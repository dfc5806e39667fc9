package lm

import (
	"context"
	"errors"
	"os"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Measure runs the model on a text to learn how much the columns of its matrices
// count. Values that cross between products are kept in dir, for the time being.
func Measure(ctx context.Context, m *Model, text *Text, p *pool.Pool, dir string, progress func(done, all int)) (*Importance, error) {
	dir, err := os.MkdirTemp(dir, ".salver-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := newWalk(m, text, p, dir)
	if err != nil {
		return nil, err
	}
	w.progress = progress
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

// activations gathers what products read.
func (w *walk) activations(input *ir.Value, want weight.Want) (*weight.Activations, error) {
	cols, _ := input.Type.Shape[len(input.Type.Shape)-1].Int()
	a := weight.NewActivations(cols, want)
	return a, w.each(input, func(x []float32) error { return a.Add(x, w.pool) })
}
