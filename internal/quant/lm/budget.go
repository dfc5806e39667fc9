package lm

import (
	"context"
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/quant/guard"
)

// ladder are the formats among which a budget is spread.
var ladder = []block.Format{block.Q2_K, block.Q3_K, block.Q4_K, block.Q5_K, block.Q6_K, block.Q8_0}

// sampledRows is about how many rows of a matrix are rounded to learn what a
// format costs.
const sampledRows = 256

// Spread chooses formats of Q2_K to Q8_0 for the model's matrices so that they
// keep to a budget, and the errors of their outputs, each relative to the output,
// add up to the least. With an importance matrix errors are those on its text;
// without one all columns count alike. The choice is added to o's overrides;
// matrices that these name already are left out.
func Spread(ctx context.Context, m *Model, o *Options, b guard.Budget) error {
	c := newChooser(m, o.Mix, o)
	var names []string
	var formats [][]block.Format
	var choices [][]guard.Choice
	var elems, all, rest int64
	for i := range m.Tensors {
		t := &m.Tensors[i]
		all += t.Bytes()
		fixed := slices.ContainsFunc(o.Overrides, func(v Override) bool { return v.matches(t.Name) })
		if !quantizable(t) || fixed || !isFloat(t.Format) && !o.Requantize {
			f, _ := c.format(t)
			rest += bytesAs(t, f)
			continue
		}
		im, err := o.Importance.of(t)
		if err != nil {
			return err
		}
		list, costs, err := c.costs(ctx, t, scaled(im, t.columns))
		if err != nil {
			return err
		}
		names, formats, choices = append(names, t.Name), append(formats, list), append(choices, costs)
		elems += int64(t.Elems())
	}
	picked, err := guard.Allot(choices, b.Bytes(elems, all, rest))
	if err != nil {
		return fmt.Errorf("the matrices: %w", err)
	}
	for i, k := range picked {
		o.Overrides = append(o.Overrides, Override{names[i], formats[i][k]})
	}
	return nil
}

// costs rounds some rows of a tensor to each format that its rows can have.
func (c *chooser) costs(ctx context.Context, t *Tensor, importance []float32) (list []block.Format, costs []guard.Choice, err error) {
	for _, f := range ladder {
		if g, _ := c.fits(t, f, ""); g != f { // rows that are no whole super-blocks
			f = g
		}
		if len(list) > 0 && list[len(list)-1] == f {
			continue
		}
		p := &plan{Tensor: t, format: f, importance: importance}
		noise, err := p.sample(ctx, c.o)
		if err != nil {
			return nil, nil, err
		}
		list, costs = append(list, f), append(costs, guard.Choice{Bytes: bytesAs(t, f), Error: noise})
	}
	return list, costs, nil
}

// sample is the error of a format relative to the output, over rows at equal distances.
func (p *plan) sample(ctx context.Context, o *Options) (float64, error) {
	size, err := p.format.RowBytes(p.Cols())
	if err != nil {
		return 0, err
	}
	step := max(p.Rows()/sampledRows, 1)
	n := (p.Rows() + step - 1) / step
	signal, noise := make([]float64, n), make([]float64, n)
	o.Pool.Run(n, tasks(func(i int) {
		row, back, b := make([]float32, p.Cols()), make([]float32, p.Cols()), make([]byte, size)
		p.Decode(row, i*step)
		w := p.weights(i * step)
		block.EncodeWeighted(p.format, b, row, w)
		block.Decode(p.format, back, b)
		for j, v := range row {
			d, by := float64(v)-float64(back[j]), 1.0
			if w != nil {
				by = float64(w[j])
			}
			signal[i] += by * float64(v) * float64(v)
			noise[i] += by * d * d
		}
	}))
	var s, e float64
	for i := range signal {
		s += signal[i]
		e += noise[i]
	}
	if s > 0 {
		e /= s
	}
	return e, ctx.Err()
}
