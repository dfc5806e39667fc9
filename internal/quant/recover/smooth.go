package recover

import (
	"context"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Search lets Smooth find the best strength for each activation.
const Search = -1

const (
	// strengths is how many steps there are from 0 to 1.
	strengths = 10
	// triedRows of an activation are those on which strengths are tried.
	triedRows = 128
)

// Smooth moves outliers of activations into weights: where products read an activation
// whose channels the operators before it can scale (the scale of a LayerNormalization,
// a constant factor, the outputs of another layer), channel j is divided by
// max|xⱼ|^α / max|wⱼ|^(1-α), and the weights that read it are multiplied by it (equation
// 4 of arXiv 2211.10438). All readers of an activation share its factors. With Search the
// α of each is the one of eleven with which the products of rounded numbers deviate
// least on samples; activations that no α improves stay as they are. It gives how many
// activations were smoothed.
func Smooth(ctx context.Context, g *ir.Graph, set samples.Set, alpha float64, p *pool.Pool) (smoothed int, err error) {
	var first []*layer
	readers, ways := map[*layer][]*layer{}, map[*layer]*scaling{}
	seenValues := map[*ir.Value]bool{}
	for _, l := range layers(g) {
		v := l.n.In[0]
		if seenValues[v] {
			continue
		}
		seenValues[v] = true
		list, last := consumers(v)
		if !last {
			continue
		}
		if s := findScaling(v, last, l.inputs()); s != nil {
			first = append(first, l)
			readers[l], ways[l] = list, s
		}
	}
	err = gather(ctx, g, first, set, weight.WantRows, p, nil, func(l *layer, s *seen) error {
		m := &smoothing{layers: readers[l], magnitude: magnitudes(s), lo: s.lo, hi: s.hi, pool: p}
		m.x = s.groups[0].Rows()
		m.x = m.x[:min(len(m.x), triedRows*l.inputs())]
		by, err := m.factors(alpha)
		if err != nil || by == nil {
			return err
		}
		smoothed++
		ways[l].divide(by)
		for _, r := range readers[l] {
			r.multiplyInputs(by)
		}
		return nil
	})
	return smoothed, err
}

func magnitudes(s *seen) []float32 {
	m := make([]float32, len(s.lo))
	for i := range m {
		m[i] = max(-s.lo[i], s.hi[i])
	}
	return m
}

// smoothing is one activation with the products that read it.
type smoothing struct {
	layers    []*layer
	magnitude []float32 // of each channel
	lo, hi    []float32
	x         []float32 // rows
	pool      *pool.Pool
}

// factors finds what channels are divided by; nil leaves them alone.
func (m *smoothing) factors(alpha float64) ([]float32, error) {
	if alpha != Search {
		return m.of(alpha), nil
	}
	least, err := m.deviation(nil)
	if err != nil {
		return nil, err
	}
	var best []float32
	for i := range strengths + 1 {
		by := m.of(float64(i) / strengths)
		d, err := m.deviation(by)
		if err != nil {
			return nil, err
		}
		if d < least {
			best, least = by, d
		}
	}
	return best, nil
}

// of gives the factors of a strength. Channels that are never anything but zero, or
// that nothing reads, keep theirs.
func (m *smoothing) of(alpha float64) []float32 {
	read := make([]float32, len(m.magnitude))
	for _, l := range m.layers {
		for i, r := range l.inputRanges() {
			read[i] = max(read[i], r)
		}
	}
	by := make([]float32, len(read))
	for i := range by {
		by[i] = 1
		if m.magnitude[i] > 0 && read[i] > 0 {
			s := math.Pow(float64(m.magnitude[i]), alpha) / math.Pow(float64(read[i]), 1-alpha)
			by[i] = float32(min(max(s, 1e-5), 1e5))
		}
	}
	return by
}

// deviation is the sum of squares by which products of 8-bit numbers are off, with
// activations of one scale and weights of one for each output.
func (m *smoothing) deviation(by []float32) (sum float64, err error) {
	n := len(m.magnitude)
	r := quant.Range{}
	for i := range n {
		s := factor(by, i)
		r.Min, r.Max = min(r.Min, float64(m.lo[i]/s)), max(r.Max, float64(m.hi[i]/s))
	}
	f, err := quant.Fit(r, dtype.Uint8, false)
	if err != nil {
		return 0, err
	}
	x := make([]float32, len(m.x))
	for i, v := range m.x {
		x[i] = f.Round(v / factor(by, i%n))
	}
	for _, l := range m.layers {
		w := l.matrix()
		want, err := product(m.x, w, n, m.pool)
		if err != nil {
			return 0, err
		}
		for o := 0; o < len(w); o += n {
			row := w[o:][:n]
			for i := range row {
				row[i] *= factor(by, i)
			}
			roundRow(row)
		}
		got, err := product(x, w, n, m.pool)
		if err != nil {
			return 0, err
		}
		for i, v := range want {
			d := float64(got[i]) - float64(v)
			sum += d * d
		}
	}
	return sum, nil
}

func factor(by []float32, i int) float32 {
	if by == nil {
		return 1
	}
	return by[i]
}

// roundRow rounds weights to int8 with one scale.
func roundRow(row []float32) {
	scale := rowScale(row)
	for i, v := range row {
		row[i] = float32(math.RoundToEven(float64(v/scale))) * scale
	}
}

// rowScale is the scale that ptq gives weights with one for each channel.
func rowScale(row []float32) float32 {
	r := quant.Range{}
	for _, v := range row {
		r.Min, r.Max = min(r.Min, float64(v)), max(r.Max, float64(v))
	}
	f, err := quant.Fit(r, dtype.Int8, true)
	if err != nil {
		return 1 // weights that are not finite are refused when they are quantized
	}
	return f.Scale
}

// product gives x·wᵀ, of rows of n numbers each.
func product(x, w []float32, n int, p *pool.Pool) ([]float32, error) {
	rows, outs := len(x)/n, len(w)/n
	y := make([]float32, rows*outs)
	t := gemm.Task{Product: gemm.Product{M: rows, N: outs, K: n, A: gemm.Matrix{Data: x, Stride: n}, B: gemm.Matrix{Data: w, Stride: n, Trans: true}, C: gemm.Matrix{Data: y, Stride: outs}}}
	return y, t.Run(p)
}
