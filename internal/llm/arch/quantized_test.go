package arch

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
)

// Whatever the format, a matrix keeps its values exactly.
func TestFromPacked(t *testing.T) {
	for _, c := range []struct {
		name              string
		bits, cols, group int
		zeros, shuffled   bool
		scale             float32 // that all are a multiple of
		float             dtype.Type
		want              block.Format
	}{
		{"4 bits", 4, 128, 32, false, false, 1. / 64, 0, block.Q4_0},
		{"large groups", 4, 256, 128, false, false, 1. / 64, 0, block.Q4_0},
		{"a short last group", 4, 96, 64, false, false, 1. / 64, 0, block.Q4_0},
		{"one group", 4, 160, 160, false, false, 1. / 64, 0, block.Q4_0},
		{"zero points", 4, 64, 32, true, false, 1. / 64, 0, block.Q5_0},
		{"3 bits with zero points", 3, 64, 32, true, false, 1. / 64, 0, block.Q4_0},
		{"8 bits", 8, 64, 32, false, false, 1. / 64, 0, block.Q8_0},
		{"8 bits with zero points", 8, 64, 32, true, false, 1. / 64, 0, block.F32},
		{"act-order", 4, 128, 32, false, true, 1. / 64, 0, block.Q4_0},
		{"small groups", 4, 64, 16, false, false, 1. / 64, 0, block.F32},
		{"act-order, small groups", 4, 64, 16, false, true, 1. / 64, 0, block.F32},
		{"no whole blocks", 4, 48, 48, false, false, 1. / 64, 0, block.F32},
		{"fine scales", 4, 64, 32, false, false, 1e-3, 0, block.F32},
		{"float8", 8, 64, 64, false, false, 1. / 64, dtype.Float8E4M3FN, block.BF16},
		{"float8 of two exponents more", 8, 64, 64, false, false, 1. / 64, dtype.Float8E5M2, block.BF16},
		{"float8 in groups", 8, 64, 32, false, false, 1. / 64, dtype.Float8E4M3FN, block.F32},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rows = 5
			r := rand.New(rand.NewPCG(uint64(c.cols), uint64(c.bits)))
			m := &packed.Matrix{Rows: rows, Cols: c.cols, Bits: c.bits, Group: c.group, Float: c.float, Codes: make([]uint8, rows*c.cols)}
			for i := range m.Codes {
				m.Codes[i] = uint8(r.IntN(1<<c.bits - 1)) // the highest code of float8 is none
				if c.float != 0 {
					m.Codes[i] &= 0x77
				}
			}
			m.Scales = make([]float32, rows*m.Groups())
			for i := range m.Scales {
				m.Scales[i] = c.scale * float32(r.IntN(100)-50)
			}
			if c.zeros {
				m.Zeros = make([]uint8, len(m.Scales))
				for i := range m.Zeros {
					m.Zeros[i] = uint8(r.IntN(1 << c.bits))
				}
			}
			if c.shuffled {
				for i := range c.cols {
					m.GroupOf = append(m.GroupOf, int32(i/c.group))
				}
				r.Shuffle(c.cols, func(i, j int) { m.GroupOf[i], m.GroupOf[j] = m.GroupOf[j], m.GroupOf[i] })
			}
			w := FromPacked(m)
			if w.Format != c.want || (w.Order != nil) != (c.shuffled && c.want != block.F32) {
				t.Errorf("the format is %v with order %v, expected %v", w.Format, w.Order, c.want)
			}
			want, got := make([]float32, rows*c.cols), make([]float32, rows*c.cols)
			m.Values(want)
			w = w.Plain()
			block.Decode(w.Format, got, w.Data)
			if !slices.Equal(got, want) {
				t.Errorf("values changed")
			}
		})
	}
}
