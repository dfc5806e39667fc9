// Package packed has the layouts in which safetensors files of Hugging Face hold
// matrices of few bits: those of GPTQ (both versions), AWQ and
// compressed-tensors. A layer "model.layers.0.mlp.up_proj" has several tensors,
// whose names begin with its own.
//
//	GPTQ                qweight [K·bits/32, N], packed along K; qzeros [G, N·bits/32],
//	                    packed along N, less one in version 1; scales [G, N]; g_idx [K]
//	AWQ                 qweight [K, N/8], qzeros [G, N/8], packed along N in the order
//	                    0 2 4 6 1 3 5 7; scales [G, N]
//	compressed-tensors  weight_packed [N, K/(32/bits)], weight_scale [N, G],
//	                    weight_zero_point [N/(32/bits), G], packed along N, weight_shape [2];
//	                    or weight [N, K] in int8 or float8 with weight_scale
//
// where N are outputs, K inputs, G groups of inputs; words are int32, and the
// first number has their lowest bits. GPTQ's numbers of 3 bits run on from word
// to word.
//
// Reading is safe on hostile input: every shape is compared with the others
// before anything is read.
package packed

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
)

// Matrix is a matrix of few bits, [Rows, Cols] = [outputs, inputs]. A weight is
// (code − zero)·scale, or for 8-bit floats the code's value times scale.
type Matrix struct {
	Rows, Cols int
	Bits       int        // of a code: 2 to 8
	Float      dtype.Type // of the codes, Float8E4M3FN or Float8E5M2; 0: they are integers
	Group      int        // columns that share a scale; the last group may be shorter
	Codes      []uint8    // [Rows, Cols]
	Scales     []float32  // [Rows, Groups]
	Zeros      []uint8    // [Rows, Groups]; nil: 2^(Bits-1) everywhere
	GroupOf    []int32    // the group of each column; nil: column / Group
}

// Groups is the number of groups of a row.
func (m *Matrix) Groups() int { return (m.Cols + m.Group - 1) / m.Group }

// group is the group of a column.
func (m *Matrix) group(col int) int {
	if m.GroupOf != nil {
		return int(m.GroupOf[col])
	}
	return col / m.Group
}

// zero is the zero point of a group.
func (m *Matrix) zero(row, group int) int {
	if m.Zeros == nil {
		return 1 << (m.Bits - 1)
	}
	return int(m.Zeros[row*m.Groups()+group])
}

// Ordered reports whether the columns of a group are neighbours.
func (m *Matrix) Ordered() bool {
	for col := range m.GroupOf {
		if int(m.GroupOf[col]) != col/m.Group {
			return false
		}
	}
	return true
}

// Level is what a code stands for before it is multiplied by the scale.
func (m *Matrix) Level(row, col int) float32 {
	c := m.Codes[row*m.Cols+col]
	if m.Float != 0 {
		return dtype.FromNarrow(m.Float, c)
	}
	return float32(int(c) - m.zero(row, m.group(col)))
}

// Values writes the weights to dst, [Rows, Cols]: one product each, rounded to float32.
func (m *Matrix) Values(dst []float32) {
	for row := range m.Rows {
		for col := range m.Cols {
			dst[row*m.Cols+col] = m.Level(row, col) * m.Scales[row*m.Groups()+m.group(col)]
		}
	}
}

// check reports what does not fit together.
func (m *Matrix) check() error {
	switch {
	case m.Rows < 1 || m.Cols < 1 || m.Group < 1 || len(m.Codes) != m.Rows*m.Cols:
		return fmt.Errorf("a matrix of %d×%d in groups of %d has %d codes", m.Rows, m.Cols, m.Group, len(m.Codes))
	case m.Bits < 2 || m.Bits > 8 || m.Float != 0 && m.Bits != 8:
		return fmt.Errorf("codes have %d bits, expected 2 to 8, and 8 of floats", m.Bits)
	case len(m.Scales) != m.Rows*m.Groups() || m.Zeros != nil && len(m.Zeros) != len(m.Scales):
		return fmt.Errorf("%d scales and %d zero points, expected %d", len(m.Scales), len(m.Zeros), m.Rows*m.Groups())
	case m.GroupOf != nil && len(m.GroupOf) != m.Cols:
		return fmt.Errorf("%d columns have groups, expected %d", len(m.GroupOf), m.Cols)
	}
	for col, g := range m.GroupOf {
		if g < 0 || int(g) >= m.Groups() {
			return fmt.Errorf("column %d is in group %d, expected 0 to %d", col, g, m.Groups()-1)
		}
	}
	for i, c := range m.Codes {
		if int(c) >= 1<<m.Bits {
			return fmt.Errorf("code %d of row %d has more than %d bits", c, i/m.Cols, m.Bits)
		}
	}
	return nil
}
