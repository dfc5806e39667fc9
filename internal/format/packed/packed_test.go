package packed

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/safetensors"
)

// random is a matrix with scales that the type holds.
func random(rows, cols, bits, group int, zeros bool, scale dtype.Type) *Matrix {
	r := rand.New(rand.NewPCG(uint64(rows*cols), uint64(bits)))
	m := &Matrix{Rows: rows, Cols: cols, Bits: bits, Group: group, Codes: make([]uint8, rows*cols)}
	for i := range m.Codes {
		m.Codes[i] = uint8(r.IntN(1 << bits))
	}
	m.Scales = make([]float32, rows*m.Groups())
	for i := range m.Scales {
		m.Scales[i] = fromBits(scale, toBits(scale, float32(r.NormFloat64())))
	}
	if zeros {
		m.Zeros = make([]uint8, len(m.Scales))
		for i := range m.Zeros {
			m.Zeros[i] = uint8(1 + r.IntN(1<<bits-1))
		}
	}
	return m
}

func sourceOf(tensors []safetensors.Tensor) Source {
	return func(name string) (*safetensors.Tensor, bool) {
		i := slices.IndexFunc(tensors, func(t safetensors.Tensor) bool { return t.Name == name })
		if i < 0 {
			return nil, false
		}
		return &tensors[i], true
	}
}

func equal(a, b *Matrix) bool {
	return a.Rows == b.Rows && a.Cols == b.Cols && a.Bits == b.Bits && a.Float == b.Float && a.Group == b.Group && slices.Equal(a.Codes, b.Codes) &&
		slices.Equal(a.Scales, b.Scales) && slices.Equal(a.Zeros, b.Zeros) && slices.Equal(a.GroupOf, b.GroupOf)
}

// What is written is read back, in every layout, with the configuration that is
// written beside it.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct {
		config     Config
		rows, cols int
		scale      dtype.Type
	}{
		{Config{Method: GPTQ, Bits: 4, Group: 32, Symmetric: true, ActOrder: true}, 24, 96, dtype.Float16},
		{Config{Method: GPTQ, Bits: 4, Group: 32}, 16, 80, dtype.Float16},
		{Config{Method: GPTQ, Bits: 3, Group: 64}, 32, 64, dtype.Float16},
		{Config{Method: GPTQ, Bits: 2, Symmetric: true}, 16, 48, dtype.Float16},
		{Config{Method: GPTQ, Bits: 8, Group: 16}, 4, 32, dtype.Float16},
		{Config{Method: GPTQv2, Bits: 4, Group: 32}, 8, 64, dtype.Float16},
		{Config{Method: AWQ, Bits: 4, Group: 32}, 24, 64, dtype.Float16},
		{Config{Method: AWQ, Bits: 4}, 8, 40, dtype.Float16},
		{Config{Method: Compressed, Format: "pack-quantized", Bits: 4, Group: 32, Symmetric: true}, 5, 64, dtype.BFloat16},
		{Config{Method: Compressed, Format: "pack-quantized", Bits: 4, Group: 16, ActOrder: true}, 9, 48, dtype.Float16},
		{Config{Method: Compressed, Format: "pack-quantized", Bits: 8, Symmetric: true}, 3, 13, dtype.Float32},
		{Config{Method: Compressed, Format: "int-quantized", Bits: 8, Symmetric: true}, 3, 13, dtype.BFloat16},
		{Config{Method: Compressed, Format: "int-quantized", Bits: 8, Group: 8}, 3, 16, dtype.BFloat16},
		{Config{Method: Compressed, Format: "float-quantized", Bits: 8, Symmetric: true}, 3, 13, dtype.BFloat16},
	} {
		name := fmt.Sprintf("%v %s %d bits, groups of %d", c.config.Method, c.config.Format, c.config.Bits, c.config.Group)
		t.Run(name, func(t *testing.T) {
			size := c.config.Group
			if size == 0 {
				size = c.cols
			}
			m := random(c.rows, c.cols, c.config.Bits, size, !c.config.Symmetric, c.scale)
			if c.config.Format == "float-quantized" {
				m.Float = dtype.Float8E4M3FN
			}
			if c.config.ActOrder {
				for col := range m.Cols {
					m.GroupOf = append(m.GroupOf, int32((col*7+3)%m.Cols/size))
				}
			}
			out, err := c.config.Write("a.b", m, c.scale)
			if err != nil {
				t.Fatal(err)
			}
			text, err := c.config.JSON()
			if err != nil {
				t.Fatal(err)
			}
			config, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if config.Method != c.config.Method || config.Bits != c.config.Bits || config.Group != c.config.Group {
				t.Fatalf("%s is read as %+v", text, config)
			}
			file := sourceOf(out)
			if !config.Has(file, "a.b") || config.Has(file, "a.c") {
				t.Error("the layer is not found")
			}
			got, err := config.Read(file, "a.b")
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got, m) {
				t.Errorf("read back %+v, expected %+v", got, m)
			}
			for _, part := range out {
				if !slices.Contains(config.Names("a.b"), part.Name) {
					t.Errorf("%s is not among the layer's names", part.Name)
				}
			}
			if rows, cols, err := config.Shape(file, "a.b"); rows != c.rows || cols != c.cols || err != nil {
				t.Errorf("the shape is %d×%d, error %v", rows, cols, err)
			}
		})
	}
}

// The words of small layers, written by hand from the formats' definitions.
func TestWords(t *testing.T) {
	word := func(data []byte, i int) uint32 { return binary.LittleEndian.Uint32(data[4*i:]) }
	m := &Matrix{Rows: 8, Cols: 8, Bits: 4, Group: 8, Codes: make([]uint8, 64), Scales: make([]float32, 8)}
	for row := range 8 {
		for col := range 8 {
			m.Codes[row*8+col] = uint8((row + 2*col) % 16)
		}
		m.Scales[row] = 1
	}
	g, err := (&Config{Method: GPTQ, Bits: 4, Symmetric: true}).Write("l", m, dtype.Float16)
	if err != nil {
		t.Fatal(err)
	}
	if w := word(g[0].Data, 1); w != 0xfdb97531 { // row 1: 1 3 5 …
		t.Errorf("qweight of GPTQ is %x", w)
	}
	if z := word(g[1].Data, 0); z != 0x77777777 {
		t.Errorf("qzeros of GPTQ are %x", z)
	}
	a, err := (&Config{Method: AWQ, Bits: 4, Symmetric: true}).Write("l", m, dtype.Float16)
	if err != nil {
		t.Fatal(err)
	}
	if w := word(a[0].Data, 0); w != 0x75316420 { // column 0 of rows 0 2 4 6 1 3 5 7
		t.Errorf("qweight of AWQ is %x", w)
	}
	if z := word(a[1].Data, 0); z != 0x88888888 {
		t.Errorf("qzeros of AWQ are %x", z)
	}
	// 3 bits: 11 numbers of a word and a bit of the next
	three := random(32, 32, 3, 32, false, dtype.Float16)
	for i := range three.Codes {
		three.Codes[i] = uint8(i % 32 % 7)
	}
	g, err = (&Config{Method: GPTQ, Bits: 3, Symmetric: true}).Write("l", three, dtype.Float16)
	if err != nil {
		t.Fatal(err)
	}
	var want uint64
	for i := range 21 {
		want |= uint64(i%7) << (3 * i)
	}
	if w := uint64(word(g[0].Data, 0)) | uint64(word(g[0].Data, 32))<<32; w&(1<<63-1) != want {
		t.Errorf("3 bits are %x, expected %x", w, want)
	}
}

// Files of version 2 that say they are of version 1 are known.
func TestMislabelled(t *testing.T) {
	m := random(8, 16, 4, 16, false, dtype.Float16)
	out, err := (&Config{Method: GPTQv2, Bits: 4, Symmetric: true}).Write("l", m, dtype.Float16)
	if err != nil {
		t.Fatal(err)
	}
	config, err := Parse([]byte(`{"quant_method":"gptq","bits":4,"group_size":-1,"sym":true}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.Read(sourceOf(out), "l")
	if err != nil || !equal(got, m) {
		t.Errorf("read %+v, error %v", got, err)
	}
}

func TestRefuses(t *testing.T) {
	m := random(8, 32, 4, 16, true, dtype.Float16)
	m.Zeros[3] = 0
	for name, c := range map[string]struct {
		config Config
		scale  dtype.Type
	}{
		"zero point 0":    {Config{Method: GPTQ, Bits: 4, Group: 16}, dtype.Float16},
		"other bits":      {Config{Method: GPTQv2, Bits: 8, Group: 16}, dtype.Float16},
		"other groups":    {Config{Method: GPTQv2, Bits: 4, Group: 32}, dtype.Float16},
		"zero points":     {Config{Method: GPTQv2, Bits: 4, Group: 16, Symmetric: true}, dtype.Float16},
		"type of scales":  {Config{Method: AWQ, Bits: 4, Group: 16}, dtype.Float32},
		"rounded scales":  {Config{Method: Compressed, Format: "pack-quantized", Bits: 4, Group: 16}, dtype.BFloat16},
		"floats expected": {Config{Method: Compressed, Format: "float-quantized", Bits: 8, Group: 16}, dtype.Float16},
	} {
		if _, err := c.config.Write("l", m, c.scale); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, text := range []string{`{`, `{}`, `{"quant_method":"bitsandbytes"}`, `{"quant_method":"gptq","bits":5}`, `{"quant_method":"gptq","bits":4,"group_size":0}`,
		`{"quant_method":"gptq","bits":4,"checkpoint_format":"marlin"}`, `{"quant_method":"awq","bits":4,"version":"gemv"}`, `{"quant_method":"awq","bits":3}`,
		`{"quant_method":"compressed-tensors"}`, `{"quant_method":"compressed-tensors","config_groups":{"g":{"weights":{"num_bits":4,"type":"float"}}}}`,
		`{"quant_method":"compressed-tensors","format":"marlin-24","config_groups":{"g":{"weights":{"num_bits":4,"type":"int"}}}}`,
		`{"quant_method":"compressed-tensors","kv_cache_scheme":{"num_bits":8},"config_groups":{"g":{"weights":{"num_bits":4,"type":"int"}}}}`,
	} {
		if c, err := Parse([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, c)
		}
	}
}

// FuzzRead: no tensors make reading panic.
func FuzzRead(f *testing.F) {
	for method := range Compressed + 1 {
		f.Add(uint8(method), uint8(4), int8(16), uint16(8), uint16(32), uint16(2), uint8(7), []byte{1, 2, 3})
	}
	f.Fuzz(func(t *testing.T, method, bits uint8, group int8, a, b, c uint16, types uint8, data []byte) {
		config := &Config{Method: Method(method % 4), Bits: 2 + int(bits%7), Group: max(int(group), 0)}
		if config.Method < AWQ && !slices.Contains([]int{2, 3, 4, 8}, config.Bits) {
			config.Bits = 4
		}
		size := int(group)
		config.schemes = []scheme{{Bits: config.Bits, Type: "int", Group: &size}, {Bits: 8, Type: "float", Strategy: "block", Block: []int{max(1, size), 3}}}
		dims := []int{int(a % 70), int(b % 70), int(c % 70)}
		file := func(name string) (*safetensors.Tensor, bool) {
			t := &safetensors.Tensor{Name: name, Type: dtype.Int32, Shape: dims[:2]}
			switch name {
			case "l.scales", "l.weight_scale":
				t.Type, t.Shape = []dtype.Type{dtype.Float16, dtype.Float32, dtype.BFloat16, dtype.Int8}[types%4], dims[1:]
				if types&64 != 0 {
					t.Shape = []int{dims[0], dims[2]}
				}
			case "l.qzeros", "l.weight_zero_point":
				t.Shape = dims[1:]
				if types&128 != 0 {
					t.Shape = []int{dims[2], dims[0]}
				}
			case "l.g_idx", "l.weight_g_idx":
				t.Shape = []int{len(data)}
			case "l.weight_shape":
				t.Shape = []int{2}
			case "l.weight":
				if types&16 == 0 {
					return nil, false
				}
				t.Type = []dtype.Type{dtype.Int8, dtype.Float8E4M3FN}[types/4%2]
			}
			n := t.Type.Bits() / 8
			for _, d := range t.Shape {
				n *= d
			}
			t.Data = make([]byte, n)
			for i := range t.Data {
				if len(data) > 0 {
					t.Data[i] = data[i%len(data)]
				}
			}
			return t, true
		}
		m, err := config.Read(file, "l")
		if err != nil {
			return
		}
		m.Values(make([]float32, m.Rows*m.Cols))
	})
}
