package block

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/testkit"
)

// sample is blocks of one format and the values that the gguf package reads.
type sample struct {
	Type       string  `json:"type"`
	GGMLType   uint8   `json:"ggml_type"`
	BlockElems int     `json:"block_elems"`
	BlockBytes int     `json:"block_bytes"`
	Blocks     int     `json:"blocks"`
	How        string  `json:"how"`
	RMSE       float64 `json:"rmse"`
	blocks     []byte
	values     []float32
}

func samples(t *testing.T) []sample {
	dir := testkit.Assets(t, "gguf-quants")
	var index struct{ Types []sample }
	text := readFile(t, filepath.Join(dir, "index.json"))
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	for i := range index.Types {
		s := &index.Types[i]
		name := filepath.Join(dir, strings.ToLower(s.Type))
		s.blocks, s.values = readFile(t, name+".blk"), floats(readFile(t, name+".f32"))
	}
	return index.Types
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func floats(b []byte) []float32 {
	f := make([]float32, len(b)/4)
	decodeF32(f, b)
	return f
}

func TestDecodeEqualsReference(t *testing.T) {
	for _, s := range samples(t) {
		t.Run(s.Type, func(t *testing.T) {
			f, err := Parse(s.Type)
			if err != nil {
				t.Fatal(err)
			}
			if uint8(f) != s.GGMLType || f.Elems() != s.BlockElems || f.Bytes() != s.BlockBytes {
				t.Fatalf("number %d, %d elements in %d bytes; expected %d, %d, %d", f, f.Elems(), f.Bytes(), s.GGMLType, s.BlockElems, s.BlockBytes)
			}
			got := make([]float32, s.Blocks*s.BlockElems)
			Decode(f, got, s.blocks)
			for i, want := range s.values {
				if math.Float32bits(got[i]) != math.Float32bits(want) {
					t.Fatalf("element %d of block %d: got %v, expected %v", i%s.BlockElems, i/s.BlockElems, got[i], want)
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	for f := range Format(number) {
		if !f.Valid() {
			continue
		}
		if got, err := Parse(f.String()); got != f || err != nil {
			t.Errorf("%v: %v, %v", f, got, err)
		}
	}
	if f, err := Parse("Q4_K"); f != Q4_K || err != nil {
		t.Error(f, err)
	}
	if _, err := Parse("q4_2"); err == nil || !strings.Contains(err.Error(), "q4_1") {
		t.Errorf("the error should list the formats: %v", err)
	}
	for _, f := range []Format{4, 9, 15, 63, 64, 255} {
		if f.Valid() || f.Decodes() || f.Encodes() || !strings.HasPrefix(f.String(), "ggml_type(") {
			t.Errorf("%v is valid", f)
		}
	}
}

func TestRowBytes(t *testing.T) {
	for _, c := range []struct {
		f     Format
		n     int
		bytes int
		err   string
	}{
		{F32, 3, 12, ""}, {F16, 0, 0, ""}, {Q4_0, 64, 36, ""}, {Q6_K, 512, 420, ""},
		{Q4_0, 33, 0, "multiple of 32"}, {Q4_K, 128, 0, "multiple of 256"}, {F32, -1, 0, "multiple of 1"},
		{F64, math.MaxInt, 0, "more bytes"}, {Format(5), 32, 0, "ggml_type(5)"},
	} {
		got, err := c.f.RowBytes(c.n)
		if got != c.bytes || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%v of %d: %d, %v; expected %d, %q", c.f, c.n, got, err, c.bytes, c.err)
		}
	}
}

func TestMisuse(t *testing.T) {
	for name, call := range map[string]func(){
		"no decoder":   func() { Decode(I32, make([]float32, 1), make([]byte, 4)) },
		"no encoder":   func() { Encode(F64, make([]byte, 8), make([]float32, 1)) },
		"short":        func() { Decode(Q4_0, make([]float32, 32), make([]byte, 17)) },
		"part":         func() { Decode(Q4_0, make([]float32, 16), make([]byte, 9)) },
		"long":         func() { Encode(F16, make([]byte, 4), make([]float32, 1)) },
		"not a number": func() { Decode(Format(200), nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("expected a panic")
				}
			}()
			call()
		})
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	dst, src := make([]float32, 512), make([]byte, 512*4)
	for f := range Format(number) {
		if !f.Decodes() {
			continue
		}
		n, err := f.RowBytes(len(dst))
		if err != nil {
			t.Fatal(err)
		}
		if a := testing.AllocsPerRun(10, func() { Decode(f, dst, src[:n]) }); a != 0 {
			t.Errorf("%v: %v allocations", f, a)
		}
	}
}
