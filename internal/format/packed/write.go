package packed

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/safetensors"
)

// Fits reports why a matrix of so many outputs and inputs cannot have the
// layout, or nil.
func (c *Config) Fits(rows, cols int) error {
	switch {
	case c.Method == AWQ && c.Bits != 4:
		return fmt.Errorf("AWQ has 4 bits, not %d", c.Bits)
	case c.Method == AWQ && (rows%8 != 0 || c.Group > 0 && cols%c.Group != 0):
		return fmt.Errorf("AWQ needs a multiple of 8 outputs and whole groups: there are %d outputs, and %d inputs in groups of %d", rows, cols, c.Group)
	case c.Method == Compressed && c.Format == "pack-quantized" && !slices.Contains([]int{4, 8}, c.Bits):
		return fmt.Errorf("compressed-tensors packs 4 or 8 bits, not %d", c.Bits)
	case c.Method == Compressed && c.Group > 0 && cols%c.Group != 0:
		return fmt.Errorf("compressed-tensors needs whole groups: there are %d inputs in groups of %d", cols, c.Group)
	case (c.Method == GPTQ || c.Method == GPTQv2) && (rows*c.Bits%32 != 0 || cols*c.Bits%32 != 0):
		return fmt.Errorf("GPTQ packs whole words of 32 bits: %d outputs and %d inputs of %d bits are none", rows, cols, c.Bits)
	}
	return nil
}

// Write gives the tensors of a layer. Scales are stored as scale: Float16 of GPTQ
// and AWQ, which hold nothing else, and a float type of compressed-tensors.
func (c *Config) Write(layer string, m *Matrix, scale dtype.Type) ([]safetensors.Tensor, error) {
	err := m.check()
	if err == nil {
		err = c.Fits(m.Rows, m.Cols)
	}
	if err == nil {
		err = c.suits(m, scale)
	}
	if err != nil {
		return nil, fmt.Errorf("layer %q: %w", layer, err)
	}
	w := &writer{layer: layer, m: m, scale: scale}
	switch c.Method {
	case GPTQ, GPTQv2:
		w.gptq(c.Method == GPTQ)
	case AWQ:
		w.awq()
	default:
		w.compressed(c.Format)
	}
	return w.out, nil
}

// suits holds a matrix against what the configuration says of all.
func (c *Config) suits(m *Matrix, scale dtype.Type) error {
	floating := c.Method == Compressed && c.Format == "float-quantized"
	switch {
	case m.Bits != c.Bits || (m.Float != 0) != floating:
		return fmt.Errorf("the matrix has %d bits (%v), the configuration %d (%v %s)", m.Bits, m.Float, c.Bits, c.Method, c.Format)
	case m.Group != c.Group && (c.Group != 0 || m.Group < m.Cols):
		return fmt.Errorf("the matrix has groups of %d, the configuration of %d (0: all)", m.Group, c.Group)
	case c.Symmetric && m.Zeros != nil:
		return fmt.Errorf("the matrix has zero points, and the configuration is symmetric")
	case c.Method == AWQ && m.GroupOf != nil:
		return fmt.Errorf("AWQ has groups of neighbouring columns only")
	case !slices.Contains(floats, scale) || c.Method != Compressed && scale != dtype.Float16:
		return fmt.Errorf("scales are to be stored as %v, expected float16%s", scale, map[bool]string{true: ", bfloat16 or float32"}[c.Method == Compressed])
	case c.Method == GPTQ && slices.Contains(m.Zeros, 0):
		return fmt.Errorf("version 1 of GPTQ's format cannot hold the zero point 0: write version 2")
	}
	for _, s := range m.Scales {
		if got := fromBits(scale, toBits(scale, s)); got != s {
			return fmt.Errorf("the scale %g is no %v: round scales before codes are chosen", s, scale)
		}
	}
	return nil
}

// toBits and fromBits convert a scale.
func toBits(t dtype.Type, v float32) uint32 {
	switch t {
	case dtype.Float16:
		return uint32(dtype.F32ToF16(v))
	case dtype.BFloat16:
		return uint32(dtype.F32ToBF16(v))
	}
	return math.Float32bits(v)
}

func fromBits(t dtype.Type, b uint32) float32 {
	switch t {
	case dtype.Float16:
		return dtype.F16ToF32(uint16(b))
	case dtype.BFloat16:
		return dtype.BF16ToF32(uint16(b))
	}
	return math.Float32frombits(b)
}

// writer makes a layer's tensors.
type writer struct {
	layer string
	m     *Matrix
	scale dtype.Type
	out   []safetensors.Tensor
}

func (w *writer) add(part string, t dtype.Type, dims ...int) []byte {
	n := t.Bits() / 8
	for _, d := range dims {
		n *= d
	}
	data := make([]byte, n)
	w.out = append(w.out, safetensors.Tensor{Name: w.layer + part, Type: t, Shape: dims, Data: data})
	return data
}

func (w *writer) gptq(less bool) {
	m := w.m
	groups := m.Groups()
	codes := w.add(".qweight", dtype.Int32, m.Cols*m.Bits/32, m.Rows)
	for row := range m.Rows {
		s := stream{codes, row, m.Rows}
		for col, c := range m.Codes[row*m.Cols:][:m.Cols] {
			s.put(col, m.Bits, c)
		}
	}
	zeros := w.add(".qzeros", dtype.Int32, groups, m.Rows*m.Bits/32)
	for g := range groups {
		s := stream{zeros, g * (m.Rows * m.Bits / 32), 1}
		for row := range m.Rows {
			z := m.zero(row, g)
			if less {
				z--
			}
			s.put(row, m.Bits, uint8(z))
		}
	}
	w.scales(".scales", true)
	w.indices(".g_idx")
}

// scales writes [Rows, Groups], or turned [Groups, Rows].
func (w *writer) scales(part string, turned bool) {
	m := w.m
	groups := m.Groups()
	dims := []int{m.Rows, groups}
	if turned {
		dims = []int{groups, m.Rows}
	}
	data, size := w.add(part, w.scale, dims...), w.scale.Bits()/8
	for i, s := range m.Scales {
		at := i
		if turned {
			at = i%groups*m.Rows + i/groups
		}
		if b := toBits(w.scale, s); size == 2 {
			binary.LittleEndian.PutUint16(data[2*at:], uint16(b))
		} else {
			binary.LittleEndian.PutUint32(data[4*at:], b)
		}
	}
}

func (w *writer) indices(part string) {
	data := w.add(part, dtype.Int32, w.m.Cols)
	for col := range w.m.Cols {
		binary.LittleEndian.PutUint32(data[4*col:], uint32(w.m.group(col)))
	}
}

func (w *writer) awq() {
	m := w.m
	codes := w.add(".qweight", dtype.Int32, m.Cols, m.Rows/8)
	for col := range m.Cols {
		s := stream{codes, col * (m.Rows / 8), 1}
		for row := range m.Rows {
			s.putWhole(awqPlace(row), 4, m.Codes[row*m.Cols+col])
		}
	}
	zeros := w.add(".qzeros", dtype.Int32, m.Groups(), m.Rows/8)
	for g := range m.Groups() {
		s := stream{zeros, g * (m.Rows / 8), 1}
		for row := range m.Rows {
			s.putWhole(awqPlace(row), 4, uint8(m.zero(row, g)))
		}
	}
	w.scales(".scales", true)
}

func (w *writer) compressed(format string) {
	m := w.m
	if format != "pack-quantized" {
		w.narrow()
		return
	}
	n := words32(m.Cols, m.Bits)
	codes := w.add(".weight_packed", dtype.Int32, m.Rows, n)
	for row := range m.Rows {
		s := stream{codes, row * n, 1}
		for col, c := range m.Codes[row*m.Cols:][:m.Cols] {
			s.putWhole(col, m.Bits, c)
		}
	}
	w.scales(".weight_scale", false)
	if m.Zeros != nil {
		zeros := w.add(".weight_zero_point", dtype.Int32, words32(m.Rows, m.Bits), m.Groups())
		for g := range m.Groups() {
			s := stream{zeros, g, m.Groups()}
			for row := range m.Rows {
				s.putWhole(row, m.Bits, m.Zeros[row*m.Groups()+g])
			}
		}
	}
	sizes := w.add(".weight_shape", dtype.Int64, 2)
	binary.LittleEndian.PutUint64(sizes, uint64(m.Rows))
	binary.LittleEndian.PutUint64(sizes[8:], uint64(m.Cols))
	if m.GroupOf != nil {
		w.indices(".weight_g_idx")
	}
}

// narrow writes bytes: floats, or signed integers.
func (w *writer) narrow() {
	m, t := w.m, w.m.Float
	flip := byte(0)
	if t == 0 {
		t, flip = dtype.Int8, 0x80
	}
	signed := func(part string, v []uint8, dims ...int) {
		for i, b := range v {
			if i == 0 {
				w.add(part, t, dims...)
			}
			w.out[len(w.out)-1].Data[i] = b ^ flip
		}
	}
	signed(".weight", m.Codes, m.Rows, m.Cols)
	w.scales(".weight_scale", false)
	signed(".weight_zero_point", m.Zeros, m.Rows, m.Groups())
}

// JSON is the quantization_config for config.json.
func (c *Config) JSON() ([]byte, error) {
	size := c.Group
	if size == 0 {
		size = -1
	}
	switch c.Method {
	case GPTQ, GPTQv2:
		return json.Marshal(map[string]any{"quant_method": "gptq", "checkpoint_format": c.Method.String(), "bits": c.Bits, "group_size": size,
			"sym": c.Symmetric, "desc_act": c.ActOrder, "damp_percent": c.Damp, "true_sequential": true, "lm_head": false})
	case AWQ:
		return json.Marshal(map[string]any{"quant_method": "awq", "version": "gemm", "bits": c.Bits, "group_size": size, "zero_point": !c.Symmetric,
			"modules_to_not_convert": c.Ignore})
	}
	weights := map[string]any{"num_bits": c.Bits, "type": "int", "symmetric": c.Symmetric, "strategy": "channel", "dynamic": false, "actorder": nil, "observer": "minmax"}
	if c.Format == "float-quantized" {
		weights["type"] = "float"
	}
	if c.Group > 0 {
		weights["strategy"], weights["group_size"] = "group", c.Group
	}
	if c.ActOrder {
		weights["actorder"] = "group"
	}
	return json.Marshal(map[string]any{"quant_method": "compressed-tensors", "format": c.Format, "quantization_status": "compressed",
		"config_groups": map[string]any{"group_0": map[string]any{"targets": []string{"Linear"}, "weights": weights, "input_activations": nil, "output_activations": nil}},
		"ignore":        append([]string{"lm_head"}, c.Ignore...), "kv_cache_scheme": nil})
}
