package lm

import (
	"fmt"
	"io"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// blocks is a GGUF file with formats that a chooser decides on.
type blocks struct{ *chooser }

// Blocks is a GGUF file with formats as o says.
func Blocks(m *Model, o *Options) Target { return &blocks{newChooser(m, o.Mix, o)} }

// blockSchemes are the formats whose blocks are groups of integers.
var blockSchemes = map[block.Format]weight.Scheme{
	block.Q4_0: {Kind: weight.Int, Bits: 4, Group: 32, Symmetric: true, Scale: dtype.Float16},
	block.Q5_0: {Kind: weight.Int, Bits: 5, Group: 32, Symmetric: true, Scale: dtype.Float16},
	block.Q8_0: {Kind: weight.Int, Bits: 8, Group: 32, Symmetric: true, Scale: dtype.Float16},
	block.Q4_1: {Kind: weight.Int, Bits: 4, Group: 32, FloatZero: true, Scale: dtype.Float16},
	block.Q5_1: {Kind: weight.Int, Bits: 5, Group: 32, FloatZero: true, Scale: dtype.Float16},
}

func (b *blocks) scheme(t *Tensor) (weight.Scheme, bool) {
	f, _ := b.format(t)
	s, ok := blockSchemes[f]
	return s, ok && quantizable(t)
}

// key is of all that formats depend on.
func (b *blocks) key() string {
	s := fmt.Sprint("blocks", b.mix, b.o.Overrides, b.o.Pure)
	for _, f := range []*block.Format{b.o.Output, b.o.Embedding} {
		if f != nil {
			s += " " + f.String()
		}
	}
	return s
}

// pack writes blocks as a GGUF file.
func (b *blocks) pack(list []rounded) func(io.Writer) error {
	var sources []gguf.Source
	for _, r := range list {
		f, _ := b.format(r.Tensor)
		sources = append(sources, gguf.Source{Name: r.Name, Format: f, Shape: r.Shape, WriteTo: func(w io.Writer) error {
			_, err := w.Write(blocksOf(r.q, f))
			return err
		}})
	}
	return func(w io.Writer) error { return gguf.Write(w, nil, sources) }
}

// blocksOf packs a matrix whose groups are blocks.
func blocksOf(q *weight.Quantized, f block.Format) []byte {
	const elems = 32
	n := q.Cols / elems
	data := make([]byte, q.Rows*n*f.Bytes())
	for i := range q.Rows * n {
		d, m := q.Scales[i], float32(0)
		if q.Zeros != nil {
			m = -q.Zeros[i] * d
		}
		block.PackLinear(f, data[i*f.Bytes():(i+1)*f.Bytes()], d, m, q.Codes[i*elems:(i+1)*elems])
	}
	return data
}

// plainFloats is a GGUF file of plain numbers, those that a scheme leaves.
type plainFloats struct{ s weight.Scheme }

// Floats is a GGUF file of float32 whose matrices were rounded as a scheme says:
// as large as the original, to see what rounding costs.
func Floats(s weight.Scheme) Target { return plainFloats{s} }

func (f plainFloats) scheme(t *Tensor) (weight.Scheme, bool) {
	return f.s, quantizable(t) && layerWeight(t)
}

// layerWeight reports whether a tensor is a matrix of a layer, and not the
// embedding or the last product.
func layerWeight(t *Tensor) bool {
	_, _, ok := cutLayer(t.Name)
	return ok && len(t.Shape) == 2
}

func (f plainFloats) key() string { return "floats " + f.s.String() + fmt.Sprint(f.s) }

func (f plainFloats) pack(list []rounded) func(io.Writer) error {
	var sources []gguf.Source
	for _, r := range list {
		v := make([]float32, r.Elems())
		r.q.Dequantize(v, nil)
		sources = append(sources, floats(r.Name, v, r.Shape...))
	}
	return func(w io.Writer) error { return gguf.Write(w, nil, sources) }
}
