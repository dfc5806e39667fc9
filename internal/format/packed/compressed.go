package packed

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/safetensors"
)

func (l *layer) openCompressed() {
	if w, ok := l.file(l.name + ".weight"); ok && len(w.Shape) == 2 {
		l.openNarrow(w)
		return
	}
	w, s := l.tensor(".weight_packed", words, -1, -1), l.tensor(".weight_scale", floats, -1, -1)
	if l.err != nil {
		return
	}
	l.rows, l.groups = w.Shape[0], s.Shape[1]
	sizes := l.shape()
	if l.err != nil {
		return
	}
	if sizes[0] != int64(l.rows) || sizes[1] < 1 || sizes[1] > int64(w.Shape[1])*16 {
		l.fail("weight_shape is %v, weight_packed has shape %v", sizes, w.Shape)
		return
	}
	l.cols = int(sizes[1])
	for _, c := range l.config.schemes {
		if c.Type == "int" && words32(l.cols, c.Bits) == w.Shape[1] {
			l.bits = c.Bits
			g, _ := group(c.Group)
			l.inGroups(g)
			l.tensor(".weight_scale", floats, l.rows, l.groups)
			return
		}
	}
	l.fail("weight_packed has shape %v for %d inputs, which is none of the configuration's numbers of bits", w.Shape, l.cols)
}

// words32 is the number of words for n numbers, of which each holds whole ones.
func words32(n, bits int) int { return (n + 32/bits - 1) / (32 / bits) }

// shape reads weight_shape.
func (l *layer) shape() (v [2]int64) {
	t := l.tensor(".weight_shape", indices, 2)
	if t == nil {
		return v
	}
	size := t.Type.Bits() / 8
	for i := range v {
		for j := size - 1; j >= 0; j-- {
			v[i] = v[i]<<8 | int64(t.Data[i*size+j])
		}
	}
	return v
}

// openNarrow is for weights that have bytes.
func (l *layer) openNarrow(w *safetensors.Tensor) {
	l.rows, l.cols, l.bits = w.Shape[0], w.Shape[1], 8
	if !slices.Contains(narrow, w.Type) {
		l.fail("weight is %v, expected %v", w.Type, narrow)
		return
	}
	if w.Type != dtype.Int8 {
		l.float = w.Type
	}
	s, ok := l.file(l.name + ".weight_scale")
	if !ok || len(s.Shape) > 2 || !slices.Contains(floats, s.Type) {
		l.fail("weight_scale is missing, or has more than 2 dimensions, or is none of %v", floats)
		return
	}
	l.groups = 1
	if len(s.Shape) == 2 {
		l.groups = s.Shape[1]
	}
	for _, c := range l.config.schemes {
		g, _ := group(c.Group)
		if c.Strategy == "block" {
			l.block, g = c.Block[0], c.Block[1]
		}
		if c.Bits != 8 || g > 0 && l.groups > 1 && (l.cols+g-1)/g != l.groups {
			continue
		}
		l.inGroups(g)
		break
	}
	if l.err == nil && l.group == 0 {
		l.fail("weight_scale has shape %v, which is none of the configuration's groups", s.Shape)
	}
	if n := len(s.Data) * 8 / s.Type.Bits(); l.err == nil && n != 1 && n != (l.rows+l.block-1)/l.block*l.groups {
		l.fail("weight_scale has shape %v for %d outputs and %d groups", s.Shape, l.rows, l.groups)
	}
}

func (l *layer) unpackCompressed(m *Matrix) {
	scale, _ := l.file(l.name + ".weight_scale")
	v := numbers(scale)
	for i := range m.Scales {
		m.Scales[i] = v[0]
		if len(v) > 1 {
			m.Scales[i] = v[i/l.groups/l.block*l.groups+i%l.groups]
		}
	}
	l.checkScales(m)
	if w, ok := l.file(l.name + ".weight"); ok && len(w.Shape) == 2 {
		copy(m.Codes, w.Data)
		if m.Float == 0 {
			for i := range m.Codes {
				m.Codes[i] ^= 0x80
			}
			l.plainZeros(m)
		}
		return
	}
	w := l.tensor(".weight_packed", words, -1, -1)
	for row := range m.Rows {
		s := stream{w.Data, row * w.Shape[1], 1}
		codes := m.Codes[row*m.Cols:][:m.Cols]
		for col := range codes {
			codes[col] = s.getWhole(col, m.Bits)
		}
	}
	l.packedZeros(m)
	if _, ok := l.file(l.name + ".weight_g_idx"); ok {
		l.groupOf(m, ".weight_g_idx")
	}
}

// plainZeros reads zero points that are signed bytes.
func (l *layer) plainZeros(m *Matrix) {
	t, ok := l.file(l.name + ".weight_zero_point")
	if !ok {
		return
	}
	if t.Type != dtype.Int8 || len(t.Data) != len(m.Scales) {
		l.fail("weight_zero_point is %v with shape %v, expected int8 with %d numbers", t.Type, t.Shape, len(m.Scales))
		return
	}
	m.Zeros = slices.Clone(t.Data)
	for i := range m.Zeros {
		m.Zeros[i] ^= 0x80
	}
}

// packedZeros reads zero points that are packed along the outputs.
func (l *layer) packedZeros(m *Matrix) {
	if _, ok := l.file(l.name + ".weight_zero_point"); !ok {
		return
	}
	t := l.tensor(".weight_zero_point", words, words32(m.Rows, m.Bits), l.groups)
	if t == nil {
		return
	}
	m.Zeros = make([]uint8, len(m.Scales))
	for g := range l.groups {
		s := stream{t.Data, g, l.groups}
		for row := range m.Rows {
			m.Zeros[row*l.groups+g] = s.getWhole(row, m.Bits)
		}
	}
}
