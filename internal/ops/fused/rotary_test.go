package fused

import (
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

func rotaryNode(interleaved, paired int) *ir.Node {
	return ir.NewNode("salver", "FusedRotary", 1, nil, nil, map[string]*ir.Attr{"interleaved": ir.Int(interleaved), "paired": ir.Int(paired)})
}

// TestRotaryBits compares rows, turned in place, with x·cos + R(x)·sin as graphs spell it out.
func TestRotaryBits(t *testing.T) {
	for _, n := range []int{2, 6, 14, 64, 130} {
		for form := range 8 {
			interleaved, paired, width := form&1, form>>1&1, n+3*(form>>2)
			x, cos, sin := wave(3, 5, width), wave(5, n/(1+paired)), wave(5, n/(1+paired))
			r, err := newRotaryRows(rotaryNode(interleaved, paired), x.Shape, cos.Shape, sin.Shape)
			if err != nil {
				t.Fatal(err)
			}
			r.x, r.cos, r.sin = tensor.Of[float32](x), tensor.Of[float32](cos), tensor.Of[float32](sin)
			r.y = r.x
			want := slices.Clone(r.x)
			for i := range 3 * 5 * n {
				row, at := i/n, i%n
				other, sign, column := at+n/2, float32(-1), at
				switch {
				case interleaved == 1:
					other, sign = at^1, float32(2*(at&1)-1)
				case at >= n/2:
					other, sign = at-n/2, 1
				}
				if paired == 1 && interleaved == 1 {
					column = at / 2
				} else if paired == 1 {
					column = at % (n / 2)
				}
				angle := row%5*r.columns + column
				want[row*width+at] = float32(r.x[row*width+at]*r.cos[angle]) + float32(sign*r.x[row*width+other]*r.sin[angle])
			}
			for i := range r.rows {
				r.turn(i)
			}
			if !slices.Equal(r.y, want) {
				t.Errorf("%d of %d elements, interleaved %d, paired %d: %v, expected %v", n, width, interleaved, paired, r.y, want)
			}
		}
	}
}

// BenchmarkRotary turns the queries of 128 tokens, 12 heads of 64.
func BenchmarkRotary(b *testing.B) {
	const tokens, heads, size = 128, 12, 64
	r, err := newRotaryRows(rotaryNode(0, 0), []int{1, tokens, heads, size}, []int{1, tokens, 1, size}, []int{1, tokens, 1, size})
	if err != nil {
		b.Fatal(err)
	}
	r.x, r.y = make([]float32, tokens*heads*size), make([]float32, tokens*heads*size)
	r.cos, r.sin = make([]float32, tokens*size), make([]float32, tokens*size)
	b.SetBytes(2 * 4 * tokens * heads * size)
	for b.Loop() {
		for i := range r.rows {
			r.turn(i)
		}
	}
}
