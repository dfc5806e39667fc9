package lm

import (
	"context"
	"os"
	"strings"

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
	im := &Importance{Dataset: text.Name, Chunks: len(text.Chunks), Size: len(text.Chunks[0]), byTensor: map[string][]float32{}}
	err = w.run(ctx, 0, func(ctx context.Context, _ int, products []*product) (map[string]*Tensor, error) {
		for input, list := range byInput(products) {
			a, err := w.activations(input, 0)
			if err != nil {
				return nil, err
			}
			for _, name := range namesOf(list) {
				if !strings.Contains(name, ".ffn_down_exps.") { // whose input is within the mixture
					im.byTensor[name] = a.MeanSquare()
				}
			}
		}
		return nil, ctx.Err()
	}, nil)
	if err != nil {
		return nil, err
	}
	return im, im.check()
}

// byInput groups products that read the same values.
func byInput(products []*product) map[*ir.Value][]*product {
	groups := map[*ir.Value][]*product{}
	for _, p := range products {
		groups[p.input] = append(groups[p.input], p)
	}
	return groups
}

// activations gathers what products read.
func (w *walk) activations(input *ir.Value, want weight.Want) (*weight.Activations, error) {
	cols, _ := input.Type.Shape[len(input.Type.Shape)-1].Int()
	a := weight.NewActivations(cols, want)
	return a, w.each(input, func(x []float32) error { return a.Add(x, w.pool) })
}
