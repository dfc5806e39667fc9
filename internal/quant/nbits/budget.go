package nbits

import (
	"context"
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/guard"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// ladder are the bits among which a budget is spread. With 2 a layer's error is no
// longer small against its output, and errors of layers do not simply add up.
var ladder = []int{4, 8}

// Spread chooses the bits of each layer so that they keep to a budget, and the
// errors of their outputs, each relative to the output, add up to the least. With
// samples the errors are those on what the layers read; without, all inputs count alike. The
// choice is written to o.Bits. Errors are those of rounding to the nearest,
// whatever o's method.
func Spread(ctx context.Context, g *ir.Graph, o *Options, b guard.Budget) error {
	full, err := o.complete()
	if err != nil {
		return err
	}
	if full.Scheme.Kind != weight.Int || full.Scheme.FloatZero || full.Embeddings {
		return errors.New("a budget is spread among integers of products: leave out hqq, other kinds and embeddings")
	}
	list, _ := find(g, &full)
	q := &quantizer{ctx: ctx, g: g, o: &full, groups: byInput(list)}
	var order []*layer
	var choices [][]guard.Choice
	var elems, mine int64
	for _, wave := range q.waves() {
		seen, err := q.gather(g, wave, func(int) {})
		if err != nil {
			return err
		}
		for i, group := range wave {
			for _, l := range group {
				costs, err := q.costs(l, seen[i])
				if err != nil {
					return fmt.Errorf("%s: %w", l.node, err)
				}
				order, choices = append(order, l), append(choices, costs)
				elems, mine = elems+int64(l.rows*l.cols), mine+l.bytes()
			}
		}
	}
	all := ptq.ConstantBytes(g)
	picked, err := guard.Allot(choices, b.Bytes(elems, all, all-mine))
	if err != nil {
		return fmt.Errorf("the weights of %d layers: %w", len(order), err)
	}
	o.Bits = map[string]int{}
	for i, k := range picked {
		o.Bits[order[i].node.Name] = ladder[k]
	}
	return nil
}

// costs rounds a layer to each number of bits.
func (q *quantizer) costs(l *layer, a *weight.Activations) (list []guard.Choice, err error) {
	w := l.matrix()
	for _, bits := range ladder {
		s := q.o.scheme(l)
		s.Bits = bits
		o := weight.RTNOptions{Clip: weight.MSE}
		if a != nil {
			o.Importance = a.MeanSquare()
		}
		done, err := weight.RTN(w, s, o, q.o.Pool)
		if err != nil {
			return nil, err
		}
		signal, noise, err := q.noise(w, done, nil, a)
		if err != nil {
			return nil, err
		}
		if signal > 0 {
			noise /= signal
		}
		list = append(list, guard.Choice{Bytes: int64(s.BitsPerWeight(l.cols) * float64(l.rows*l.cols) / 8), Error: noise})
	}
	return list, q.ctx.Err()
}
