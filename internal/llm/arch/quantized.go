package arch

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
)

// FromPacked gives a matrix of few bits, as GPTQ, AWQ and compressed-tensors
// files have it, in a format of blocks that holds it exactly, so that it is
// multiplied at the speed of few bits:
//
//	codes less zero points within   -8 … 7     Q4_0
//	                                -16 … 15   Q5_0, such as 4 bits with any zero points
//	                                -128 … 127 Q8_0
//
// where groups are whole blocks of 32 columns and scales are float16 numbers. 8-bit
// floats with a scale for each row become bfloat16, and Weight.Scales has the scales.
// What fits none becomes float32. Columns of groups that are not neighbours
// (act-order) are sorted by group, and Weight.Order says how.
func FromPacked(m *packed.Matrix) Weight {
	order := columnsByGroup(m)
	w := Weight{Format: block.F32, Shape: []int{m.Rows, m.Cols}}
	if f, ok := blockFormat(m, order); ok {
		w.Format, w.Order = f, order
		w.Data = encodeBlocks(m, f, order)
		return w
	}
	if m.Float != 0 && m.Groups() == 1 {
		w.Format, w.Scales = block.BF16, m.Scales
		w.Data = encodeLevels(m)
		return w
	}
	values := make([]float32, m.Rows*m.Cols)
	m.Values(values)
	w.Data = make([]byte, 4*len(values))
	block.Encode(block.F32, w.Data, values)
	return w
}

// encodeLevels writes what the codes of 8-bit floats stand for, all of which bfloat16
// holds.
func encodeLevels(m *packed.Matrix) []byte {
	var levels [256]uint16
	for c := range levels {
		levels[c] = dtype.F32ToBF16(dtype.FromNarrow(m.Float, byte(c)))
	}
	data := make([]byte, 2*len(m.Codes))
	for i, c := range m.Codes {
		binary.LittleEndian.PutUint16(data[2*i:], levels[c])
	}
	return data
}

// blockElems is the number of columns in a block of the formats used here.
const blockElems = 32

// columnsByGroup sorts the columns by group; nil if they are in that order.
func columnsByGroup(m *packed.Matrix) []int32 {
	if m.GroupOf == nil || slices.IsSorted(m.GroupOf) {
		return nil
	}
	order := make([]int32, m.Cols)
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(m.GroupOf[a]) - int(m.GroupOf[b]) })
	return order
}

// at is the column that stands in a place.
func at(order []int32, place int) int {
	if order == nil {
		return place
	}
	return int(order[place])
}

// blockFormat finds the smallest format that holds a matrix exactly.
func blockFormat(m *packed.Matrix, order []int32) (block.Format, bool) {
	if m.Float != 0 || m.Cols%blockElems != 0 || !oneGroupABlock(m, order) {
		return 0, false
	}
	for _, s := range m.Scales {
		if dtype.F16ToF32(dtype.F32ToF16(s)) != s {
			return 0, false
		}
	}
	var lowest, highest float32
	for row := range m.Rows {
		for col := range m.Cols {
			l := m.Level(row, col)
			lowest, highest = min(lowest, l), max(highest, l)
		}
	}
	for _, f := range []struct {
		format block.Format
		most   float32
	}{{block.Q4_0, 7}, {block.Q5_0, 15}, {block.Q8_0, 127}} {
		if lowest >= -f.most-1 && highest <= f.most {
			return f.format, true
		}
	}
	return 0, false
}

// oneGroupABlock reports whether the columns of each block have the same scale.
func oneGroupABlock(m *packed.Matrix, order []int32) bool {
	if m.GroupOf == nil {
		return m.Group%blockElems == 0 || m.Groups() == 1
	}
	for place := range m.Cols {
		if m.GroupOf[at(order, place)] != m.GroupOf[at(order, place-place%blockElems)] {
			return false
		}
	}
	return true
}

// encodeBlocks writes levels and scales as Q4_0, Q5_0 or Q8_0, by their layouts in
// package block.
func encodeBlocks(m *packed.Matrix, f block.Format, order []int32) []byte {
	blocks := m.Cols / blockElems
	data := make([]byte, m.Rows*blocks*f.Bytes())
	for i := range m.Rows * blocks {
		row, first := i/blocks, i%blocks*blockElems
		b := data[i*f.Bytes():][:f.Bytes()]
		group := at(order, first) / m.Group
		if m.GroupOf != nil {
			group = int(m.GroupOf[at(order, first)])
		}
		binary.LittleEndian.PutUint16(b, dtype.F32ToF16(m.Scales[row*m.Groups()+group]))
		level := func(j int) int { return int(m.Level(row, at(order, first+j))) }
		switch f {
		case block.Q8_0:
			for j := range blockElems {
				b[2+j] = byte(int8(level(j)))
			}
		case block.Q5_0:
			var high uint32
			for j := range blockElems {
				c := level(j) + 16
				b[6+j%16] |= byte(c&15) << (j / 16 * 4)
				high |= uint32(c>>4) << j
			}
			binary.LittleEndian.PutUint32(b[2:], high)
		default:
			for j := range blockElems {
				b[2+j%16] |= byte(level(j)+8) << (j / 16 * 4)
			}
		}
	}
	return data
}

// Plain gives a weight whose columns are in their order and whose rows have no scales:
// itself, or its values as float32.
func (w Weight) Plain() Weight {
	if w.Order == nil && w.Scales == nil {
		return w
	}
	cols := w.Shape[1]
	size, _ := w.Format.RowBytes(cols)
	out := Weight{Format: block.F32, Shape: w.Shape, Data: make([]byte, 4*w.Shape[0]*cols)}
	row := make([]float32, cols)
	for i := range w.Shape[0] {
		block.Decode(w.Format, row, w.Data[i*size:][:size])
		for place, v := range row {
			if w.Scales != nil {
				v *= w.Scales[i]
			}
			binary.LittleEndian.PutUint32(out.Data[4*(i*cols+at(w.Order, place)):], math.Float32bits(v))
		}
	}
	return out
}
