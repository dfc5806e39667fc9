package packed

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/safetensors"
)

// Source gives a file's tensors by their names.
type Source func(name string) (*safetensors.Tensor, bool)

// parts are the ends of the names of a layer's tensors.
var parts = map[Method][]string{
	GPTQ:       {".qweight", ".qzeros", ".scales", ".g_idx"},
	GPTQv2:     {".qweight", ".qzeros", ".scales", ".g_idx"},
	AWQ:        {".qweight", ".qzeros", ".scales"},
	Compressed: {".weight_packed", ".weight", ".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx", ".input_scale", ".input_zero_point"},
}

// Names are the tensors that a layer may have.
func (c *Config) Names(layer string) (names []string) {
	for _, p := range parts[c.Method] {
		names = append(names, layer+p)
	}
	return names
}

// Has reports whether a layer is quantized.
func (c *Config) Has(file Source, layer string) bool {
	if c.Method != Compressed {
		_, ok := file(layer + ".qweight")
		return ok
	}
	_, scaled := file(layer + ".weight_scale")
	return scaled
}

// Shape is a quantized layer's number of outputs and inputs.
func (c *Config) Shape(file Source, layer string) (rows, cols int, err error) {
	l := c.open(file, layer)
	return l.rows, l.cols, l.err
}

// Read gives a quantized layer.
func (c *Config) Read(file Source, layer string) (*Matrix, error) {
	l := c.open(file, layer)
	m := l.matrix()
	if l.err != nil {
		return nil, l.err
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("layer %q: %w", layer, err)
	}
	return m, nil
}

// layer is a quantized layer of a file, whose shapes fit together. The first
// defect is kept.
type layer struct {
	config     *Config
	file       Source
	name       string
	rows, cols int
	bits       int
	groups     int
	float      dtype.Type
	group      int
	block      int // rows that share a scale
	err        error
}

func (c *Config) open(file Source, name string) *layer {
	l := &layer{config: c, file: file, name: name, bits: c.Bits, block: 1}
	switch c.Method {
	case GPTQ, GPTQv2:
		l.openGPTQ()
	case AWQ:
		l.openAWQ()
	default:
		l.openCompressed()
	}
	return l
}

func (l *layer) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf("layer %q: %w", l.name, fmt.Errorf(format, args...))
	}
}

// tensor gives one of the layer's tensors, which must have a type and shape; a
// negative size is any.
func (l *layer) tensor(part string, types []dtype.Type, dims ...int) *safetensors.Tensor {
	t, ok := l.file(l.name + part)
	if !ok {
		l.fail("tensor %s is missing", part[1:])
		return nil
	}
	fits := slices.Contains(types, t.Type) && len(t.Shape) == len(dims)
	for i := 0; fits && i < len(dims); i++ {
		fits = dims[i] < 0 || t.Shape[i] == dims[i]
	}
	if !fits {
		l.fail("%s is %v with shape %v, expected %v with shape %v (-1: any)", part[1:], t.Type, t.Shape, types, dims)
		return nil
	}
	return t
}

var (
	words   = []dtype.Type{dtype.Int32}
	indices = []dtype.Type{dtype.Int32, dtype.Int64}
	floats  = []dtype.Type{dtype.Float16, dtype.BFloat16, dtype.Float32}
	narrow  = []dtype.Type{dtype.Int8, dtype.Float8E4M3FN, dtype.Float8E5M2}
)

func (l *layer) openGPTQ() {
	w, s := l.tensor(".qweight", words, -1, -1), l.tensor(".scales", floats, -1, -1)
	if l.err != nil {
		return
	}
	l.rows, l.groups = w.Shape[1], s.Shape[0]
	if t, ok := l.file(l.name + ".g_idx"); ok && len(t.Shape) == 1 && t.Shape[0] > 0 {
		l.cols = t.Shape[0]
		if l.bits = w.Shape[0] * 32 / l.cols; !slices.Contains([]int{2, 3, 4, 8}, l.bits) {
			l.fail("qweight has shape %v for %d inputs, which are no 2, 3, 4 or 8 bits each", w.Shape, l.cols)
		}
	} else {
		l.cols = w.Shape[0] * 32 / l.bits
	}
	l.inGroups(l.config.Group)
	l.tensor(".qweight", words, l.cols*l.bits/32, l.rows)
	l.tensor(".qzeros", words, l.groups, l.rows*l.bits/32)
	l.tensor(".scales", floats, l.groups, l.rows)
	if l.cols*l.bits%32 != 0 || l.rows*l.bits%32 != 0 {
		l.fail("%d outputs and %d inputs of %d bits are no whole words", l.rows, l.cols, l.bits)
	}
}

// inGroups finds the number of columns of a group: what the configuration says,
// or all.
func (l *layer) inGroups(group int) {
	switch {
	case l.err != nil:
	case l.rows < 1 || l.cols < 1 || l.groups < 1:
		l.fail("%d outputs, %d inputs and %d groups: expected at least one", l.rows, l.cols, l.groups)
	case group > 0 && (l.cols+group-1)/group == l.groups:
		l.group = group
	case l.groups == 1:
		l.group = l.cols
	default:
		l.fail("%d inputs have %d groups, expected groups of %d", l.cols, l.groups, group)
	}
}

func (l *layer) openAWQ() {
	w, s := l.tensor(".qweight", words, -1, -1), l.tensor(".scales", floats, -1, -1)
	if l.err != nil {
		return
	}
	l.rows, l.cols, l.groups = s.Shape[1], w.Shape[0], s.Shape[0]
	l.inGroups(l.config.Group)
	l.tensor(".qweight", words, l.cols, l.rows/8)
	l.tensor(".qzeros", words, l.groups, l.rows/8)
	if l.rows%8 != 0 {
		l.fail("%d outputs, expected a multiple of 8", l.rows)
	}
}

// matrix unpacks.
func (l *layer) matrix() *Matrix {
	if l.err != nil {
		return nil
	}
	m := &Matrix{Rows: l.rows, Cols: l.cols, Bits: l.bits, Float: l.float, Group: l.group,
		Codes: make([]uint8, l.rows*l.cols), Scales: make([]float32, l.rows*l.groups)}
	switch l.config.Method {
	case GPTQ, GPTQv2:
		l.unpackGPTQ(m)
	case AWQ:
		l.unpackAWQ(m)
	default:
		l.unpackCompressed(m)
	}
	return m
}

func (l *layer) unpackGPTQ(m *Matrix) {
	w := l.tensor(".qweight", words, -1, -1).Data
	for row := range m.Rows {
		s := stream{w, row, m.Rows}
		codes := m.Codes[row*m.Cols:][:m.Cols]
		for col := range codes {
			codes[col] = s.get(col, m.Bits)
		}
	}
	l.turnScales(m)
	l.unpackZeros(m)
	if t, ok := l.file(l.name + ".g_idx"); ok && len(t.Shape) == 1 && t.Shape[0] == m.Cols {
		l.groupOf(m, ".g_idx")
	}
}

// unpackZeros reads GPTQ's. Files that say they are of version 1 and are of
// version 2 are known by symmetric zero points, which are in the middle.
func (l *layer) unpackZeros(m *Matrix) {
	z := l.tensor(".qzeros", words, -1, -1).Data
	m.Zeros = make([]uint8, len(m.Scales))
	middle, less, wraps := uint8(1<<(m.Bits-1)), true, false
	for g := range l.groups {
		s := stream{z, g * (m.Rows * m.Bits / 32), 1}
		for row := range m.Rows {
			v := s.get(row, m.Bits)
			m.Zeros[row*l.groups+g] = v
			less = less && v == middle
			wraps = wraps || v == 1<<m.Bits-1
		}
	}
	second := l.config.Method == GPTQv2 || less && l.config.Symmetric
	symmetric := true
	for i := range m.Zeros {
		if !second {
			m.Zeros[i]++ // of 8 bits, 255 is 256 less one: refused below
		}
		symmetric = symmetric && m.Zeros[i] == middle
	}
	switch {
	case symmetric:
		m.Zeros = nil
	case wraps && !second && m.Bits == 8:
		l.fail("a zero point is 256, expected at most 255")
	}
}

func (l *layer) unpackAWQ(m *Matrix) {
	w, z := l.tensor(".qweight", words, -1, -1).Data, l.tensor(".qzeros", words, -1, -1).Data
	for col := range m.Cols {
		s := stream{w, col * (m.Rows / 8), 1}
		for row := range m.Rows {
			m.Codes[row*m.Cols+col] = s.getWhole(awqPlace(row), 4)
		}
	}
	m.Zeros = make([]uint8, len(m.Scales))
	for g := range l.groups {
		s := stream{z, g * (m.Rows / 8), 1}
		for row := range m.Rows {
			m.Zeros[row*l.groups+g] = s.getWhole(awqPlace(row), 4)
		}
	}
	l.turnScales(m)
}

// awqPlace is where a row's number lies among those packed along the rows: in
// eights, of which place i has number 0 2 4 6 1 3 5 7.
func awqPlace(row int) int {
	i := row % 8
	return row - i + i/2 + i%2*4
}

// turnScales reads scales [G, N].
func (l *layer) turnScales(m *Matrix) {
	v := numbers(l.tensor(".scales", floats, -1, -1))
	for g := range l.groups {
		for row := range m.Rows {
			m.Scales[row*l.groups+g] = v[g*m.Rows+row]
		}
	}
	l.checkScales(m)
}

func (l *layer) checkScales(m *Matrix) {
	for i, s := range m.Scales {
		if s != s || math.IsInf(float64(s), 0) {
			l.fail("the scale of row %d, group %d is %v", i/l.groups, i%l.groups, s)
			return
		}
	}
}

// groupOf reads the group of each column.
func (l *layer) groupOf(m *Matrix, part string) {
	t := l.tensor(part, indices, m.Cols)
	if t == nil {
		return
	}
	m.GroupOf = make([]int32, m.Cols)
	for i := range m.GroupOf {
		if t.Type == dtype.Int32 {
			m.GroupOf[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
		} else {
			m.GroupOf[i] = int32(min(max(int64(binary.LittleEndian.Uint64(t.Data[8*i:])), -1), math.MaxInt32))
		}
	}
	if m.Ordered() {
		m.GroupOf = nil
	}
}

// numbers reads floats.
func numbers(t *safetensors.Tensor) []float32 {
	size := t.Type.Bits() / 8
	v := make([]float32, len(t.Data)/size)
	for i := range v {
		switch b := t.Data[i*size:]; t.Type {
		case dtype.Float16:
			v[i] = dtype.F16ToF32(binary.LittleEndian.Uint16(b))
		case dtype.BFloat16:
			v[i] = dtype.BF16ToF32(binary.LittleEndian.Uint16(b))
		default:
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b))
		}
	}
	return v
}
