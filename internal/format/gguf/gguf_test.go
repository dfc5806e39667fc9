package gguf

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/testkit"
)

// pairs has a value of each type.
var pairs = []Pair{
	{"general.architecture", "llama"},
	{"u8", uint8(255)}, {"i8", int8(-128)}, {"u16", uint16(65535)}, {"i16", int16(-32768)},
	{"u32", uint32(math.MaxUint32)}, {"i32", int32(math.MinInt32)}, {"u64", uint64(math.MaxUint64)}, {"i64", int64(math.MinInt64)},
	{"f32", float32(0.1)}, {"f64", 0.1}, {"yes", true}, {"no", false}, {"empty", ""},
	{"u8s", []uint8{1, 2}}, {"i8s", []int8{-1}}, {"u16s", []uint16{3}}, {"i16s", []int16{-3}},
	{"u32s", []uint32{4, 5, 6}}, {"i32s", []int32{-4}}, {"u64s", []uint64{7}}, {"i64s", []int64{-7}},
	{"f32s", []float32{1.5, -2}}, {"f64s", []float64{1e300}}, {"bools", []bool{true, false}},
	{"strings", []string{"a", "", "ü\x00\xff"}}, {"none", []float32{}}, {"no strings", []string{}},
}

func tensor(name string, f block.Format, shape ...int) Source {
	return Source{name, f, shape, func(w io.Writer) error {
		n, err := sizeOf(f, shape)
		if err != nil {
			return err
		}
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i + len(name))
		}
		_, err = w.Write(b)
		return err
	}}
}

func write(t testing.TB, metadata []Pair, tensors ...Source) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sources(f *File) []Source {
	var list []Source
	for i := range f.Tensors {
		list = append(list, f.Tensors[i].Source())
	}
	return list
}

func TestWriteAndParse(t *testing.T) {
	b := write(t, pairs, tensor("a", block.F32, 3), tensor("b", block.Q4_0, 2, 64), tensor("scalar", block.BF16), tensor("c", block.Q6_K, 1, 2, 3, 256))
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f.Version != 3 || f.Alignment() != 32 || len(b)%32 != 0 {
		t.Errorf("version %d, alignment %d, %d bytes", f.Version, f.Alignment(), len(b))
	}
	if got := f.Pairs(); !reflect.DeepEqual(got, pairs) {
		t.Errorf("metadata: got %v, expected %v", got, pairs)
	}
	var got []string
	for _, x := range f.Tensors {
		got = append(got, fmt.Sprintf("%s %v %v %d", x.Name, x.Format, x.Shape, len(x.Data)))
		for i, v := range x.Data {
			if v != byte(i+len(x.Name)) {
				t.Fatalf("%s: byte %d is %d", x.Name, i, v)
			}
		}
	}
	if want := []string{"a f32 [3] 12", "b q4_0 [2 64] 72", "scalar bf16 [] 2", "c q6_k [1 2 3 256] 1260"}; !slices.Equal(got, want) {
		t.Errorf("tensors: got %q, expected %q", got, want)
	}
	if x, err := f.Tensor("b"); err != nil || x.Format != block.Q4_0 || f.Has("B") {
		t.Error(x, err)
	}
	if _, err := f.Tensor("d"); err == nil || !strings.Contains(err.Error(), `no tensor "d"`) {
		t.Error(err)
	}
	if again := write(t, f.Pairs(), sources(f)...); !bytes.Equal(again, b) {
		t.Error("written again, the file has other bytes")
	}
}

func TestAlignment(t *testing.T) {
	b := write(t, []Pair{{alignmentKey, uint32(256)}}, tensor("a", block.F32, 1), tensor("b", block.F32, 1))
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f.Alignment() != 256 || len(b)%256 != 0 || bytes.Index(b, f.Tensors[1].Data)%4 != 0 {
		t.Errorf("alignment %d of %d bytes", f.Alignment(), len(b))
	}
	for _, v := range []any{uint32(0), uint32(24), uint64(32), "32", uint32(1 << 31)} {
		err := Write(io.Discard, []Pair{{alignmentKey, v}}, nil)
		if err == nil || !strings.Contains(err.Error(), "power of two") {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestVersion2(t *testing.T) {
	b := write(t, pairs, tensor("a", block.F32, 3))
	b[4] = 2
	f, err := Parse(b)
	if err != nil || f.Version != 2 || len(f.Tensors) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
}

// The file ends with its last byte of use: padding may lack.
func TestNoPaddingAtTheEnd(t *testing.T) {
	b := write(t, nil, tensor("a", block.F32, 3))
	if _, err := Parse(b[:len(b)-20]); err != nil {
		t.Error(err)
	}
	if _, err := Parse(b[:len(b)-21]); err == nil {
		t.Error("a byte of the tensor lacks")
	}
	if _, err := Parse(write(t, pairs)); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	broken := tensor("a", block.F32, 2)
	broken.WriteTo = func(w io.Writer) error { return io.ErrUnexpectedEOF }
	short := tensor("a", block.F32, 2)
	short.WriteTo = func(w io.Writer) error { _, err := w.Write(make([]byte, 7)); return err }
	for name, c := range map[string]struct {
		metadata []Pair
		tensors  []Source
		err      string
	}{
		"type":           {[]Pair{{"n", 1}}, nil, `key "n": a value of type int`},
		"nil":            {[]Pair{{"n", nil}}, nil, `type <nil>`},
		"nested":         {[]Pair{{"n", [][]int32{{1}}}}, nil, `type [][]int32`},
		"key twice":      {[]Pair{{"n", true}, {"n", true}}, nil, `"n" occurs twice`},
		"no key":         {[]Pair{{"", true}}, nil, `a key has 0 bytes`},
		"tensor twice":   {nil, []Source{tensor("a", block.F32, 1), tensor("a", block.F32, 2)}, `"a" occurs twice`},
		"name":           {nil, []Source{tensor("\xff", block.F32, 1)}, `not UTF-8`},
		"row":            {nil, []Source{tensor("a", block.Q4_0, 33)}, `multiple of 32`},
		"dimension":      {nil, []Source{tensor("a", block.F32, 0)}, `at least 1`},
		"negative":       {nil, []Source{tensor("a", block.F32, -1, 1)}, `at least 1`},
		"rank":           {nil, []Source{tensor("a", block.F32, 1, 1, 1, 1, 1)}, `at most 4`},
		"large":          {nil, []Source{tensor("a", block.F32, math.MaxInt/2, 4)}, `more bytes`},
		"large together": {nil, []Source{tensor("a", block.I8, math.MaxInt-31), tensor("b", block.F32, 8)}, `more bytes`},
		"source":         {nil, []Source{broken}, io.ErrUnexpectedEOF.Error()},
		"short":          {nil, []Source{short}, `wrote 7 bytes, expected 8`},
	} {
		if err := Write(io.Discard, c.metadata, c.tensors); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, expected %q", name, err, c.err)
		}
	}
}

// A full disk is an error, wherever it comes.
func TestWriteReportsTheDisk(t *testing.T) {
	whole := len(write(t, pairs, tensor("a", block.F32, 1<<20)))
	for _, room := range []int{0, 1 << 10, 1 << 20, whole - 1} {
		if err := Write(&full{room}, pairs, []Source{tensor("a", block.F32, 1<<20)}); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.room {
		return 0, fmt.Errorf("disk full")
	}
	f.room -= len(b)
	return len(b), nil
}

func TestRealModels(t *testing.T) {
	dir := testkit.Assets(t, "models/stories260K")
	for name, format := range map[string]block.Format{"f32": block.F32, "f16": block.F16, "q8_0": block.Q8_0, "q4_0": block.Q4_0} {
		path := filepath.Join(dir, "stories260K-"+name+".gguf")
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		layers, err := f.Uint("llama.block_count")
		if err != nil || layers != 5 {
			t.Errorf("%s: %d layers, %v", name, layers, err)
		}
		if eps, err := f.Float("llama.attention.layer_norm_rms_epsilon"); err != nil || float32(eps) != 1e-5 {
			t.Errorf("%s: epsilon %v, %v", name, eps, err)
		}
		tokens, err := f.Strings("tokenizer.ggml.tokens")
		if err != nil || len(tokens) != 512 || tokens[1] != "<s>" {
			t.Errorf("%s: %d tokens, %v", name, len(tokens), err)
		}
		x, err := f.Tensor("blk.4.ffn_up.weight")
		if err != nil || !slices.Equal(x.Shape, []int{172, 64}) || x.Format != format {
			t.Errorf("%s: %+v, %v", name, x, err)
		}
		original, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(write(t, f.Pairs(), sources(f)...), original) {
			t.Errorf("%s: written again, the file has other bytes", name)
		}
		f.Release()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRealVocabularies(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testkit.Assets(t, "tokenizers/gguf-vocab"), "*.gguf"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := f.Strings("tokenizer.ggml.tokens")
		types, err2 := f.Uints("tokenizer.ggml.token_type")
		if err != nil || err2 != nil || len(tokens) < 30000 || len(types) != len(tokens) || len(f.Tensors) != 0 {
			t.Errorf("%s: %d tokens, %d types, %d tensors, %v, %v", path, len(tokens), len(types), len(f.Tensors), err, err2)
		}
		f.Close()
	}
}

func BenchmarkOpenVocabulary(b *testing.B) {
	path := testkit.Assets(b, "tokenizers/gguf-vocab/ggml-vocab-llama-bpe.gguf")
	for b.Loop() {
		f, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}
