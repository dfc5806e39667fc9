package npy

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// golden is what testdata/make.py writes, as values of (i-3) over 2x3x4.
var golden = filepath.Join("testdata", "numpy.npz")

// value reads element i as a complex number.
func value(t *tensor.Tensor, i int) complex128 {
	switch t.DType {
	case dtype.Bool, dtype.Uint8:
		return complex(float64(t.Data[i]), 0)
	case dtype.Int8:
		return complex(float64(tensor.Of[int8](t)[i]), 0)
	case dtype.Int16:
		return complex(float64(tensor.Of[int16](t)[i]), 0)
	case dtype.Int32:
		return complex(float64(tensor.Of[int32](t)[i]), 0)
	case dtype.Int64:
		return complex(float64(tensor.Of[int64](t)[i]), 0)
	case dtype.Uint16:
		return complex(float64(tensor.Of[uint16](t)[i]), 0)
	case dtype.Uint32:
		return complex(float64(tensor.Of[uint32](t)[i]), 0)
	case dtype.Uint64:
		return complex(float64(tensor.Of[uint64](t)[i]), 0)
	case dtype.Float16:
		return complex(float64(dtype.F16ToF32(tensor.Of[uint16](t)[i])), 0)
	case dtype.Float32:
		return complex(float64(tensor.Of[float32](t)[i]), 0)
	case dtype.Float64:
		return complex(tensor.Of[float64](t)[i], 0)
	case dtype.Complex64:
		return complex128(tensor.Of[complex64](t)[i])
	case dtype.Complex128:
		return tensor.Of[complex128](t)[i]
	}
	return complex(math.NaN(), 0)
}

func wanted(kind string, i int) complex128 {
	v := i - 3
	switch kind[0] {
	case 'b':
		return complex(float64((v+4)%2^1), 0)
	case 'u':
		return complex(float64((v+7)%7), 0)
	case 'c':
		return complex(float64(v), 0.5)
	}
	return complex(float64(v), 0)
}

func TestReadsWhatNumPyWrites(t *testing.T) {
	a, err := OpenArchive(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, name := range a.Names() {
		kind, _, _ := strings.Cut(name, "/")
		got, err := a.Read(name)
		if kind == "refused" {
			if err == nil || !strings.Contains(err.Error(), "tensor type") && !strings.Contains(err.Error(), "pickle") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		switch kind {
		case "scalar":
			if got.Rank() != 0 || value(got, 0) != 1.5 {
				t.Errorf("scalar: %v", got)
			}
		case "vector":
			if !slices.Equal(tensor.Of[int64](got), []int64{0, 1, 2, 3, 4}) {
				t.Errorf("vector: %v", got)
			}
		case "empty":
			if got.String() != "float32[0,3]" {
				t.Errorf("empty: %v", got)
			}
		case "U":
			if want := []string{"a", "grüß", "", "日本", "xyzzy", "𝛼"}; !slices.Equal(got.Strings, want) {
				t.Errorf("%s: %q", name, got.Strings)
			}
		case "S":
			if want := []string{"ab", "", "\xff\x00c"}; !slices.Equal(got.Strings, want) {
				t.Errorf("%s: %q", name, got.Strings)
			}
		default:
			if kind[0] == 'v' {
				kind = "f4"
			}
			if got.DType != numeric[kind] || !slices.Equal(got.Shape, []int{2, 3, 4}) {
				t.Fatalf("%s: %v", name, got)
			}
			for i := range got.Len() {
				if value(got, i) != wanted(kind, i) {
					t.Fatalf("%s[%d] = %v, want %v", name, i, value(got, i), wanted(kind, i))
				}
			}
		}
	}
}

// TestWritesTheBytesOfNumPy rewrites each plain little-endian member and
// compares it with NumPy's file, header padding included.
func TestWritesTheBytesOfNumPy(t *testing.T) {
	z, err := zip.OpenReader(golden)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	n := 0
	for _, f := range z.File {
		if strings.Contains(f.Name, ">") || strings.Contains(f.Name, "/F.") || strings.HasPrefix(f.Name, "v") && f.Name != "vector.npy" || strings.HasPrefix(f.Name, "refused") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		x, err := Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := Write(&got, x); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s:\n got %q\nwant %q", f.Name, clip(got.String()), clip(string(want)))
		}
		n++
	}
	if n < 15 {
		t.Errorf("only %d members compared", n)
	}
}

func TestWriteWidens(t *testing.T) {
	bf := tensor.New(dtype.BFloat16, 2)
	copy(tensor.Of[uint16](bf), []uint16{dtype.F32ToBF16(1.5), dtype.F32ToBF16(-2)})
	cases := []struct {
		in   *tensor.Tensor
		dt   dtype.Type
		want []complex128
	}{
		{bf, dtype.Float32, []complex128{1.5, -2}},
		{&tensor.Tensor{DType: dtype.Int4, Shape: []int{3}, Data: []byte{0xf7, 0x08}}, dtype.Int8, []complex128{7, -1, -8}},
		{&tensor.Tensor{DType: dtype.Uint4, Shape: []int{3}, Data: []byte{0xf7, 0x08}}, dtype.Uint8, []complex128{7, 15, 8}},
		{&tensor.Tensor{DType: dtype.Int2, Shape: []int{4}, Data: []byte{0b11100100}}, dtype.Int8, []complex128{0, 1, -2, -1}},
	}
	for _, c := range cases {
		var b bytes.Buffer
		if err := Write(&b, c.in); err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b.Bytes())
		if err != nil || got.DType != c.dt {
			t.Fatalf("%v: %v %v", c.in, got, err)
		}
		for i, w := range c.want {
			if value(got, i) != w {
				t.Errorf("%v[%d] = %v, want %v", c.in, i, value(got, i), w)
			}
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, x := range []*tensor.Tensor{
		tensor.New(dtype.Float8E4M3FN, 2), tensor.New(dtype.Sequence), tensor.FromStrings([]string{"a\x00"}),
		{DType: dtype.Float32, Shape: []int{3}, Data: make([]byte, 8)},
	} {
		if err := Write(io.Discard, x); err == nil {
			t.Errorf("%v was written", x)
		}
	}
}

// file makes a version 1 file with a header text.
func file(head string, data string) []byte {
	return slices.Concat([]byte(magic+"\x01\x00"), []byte{byte(len(head)), byte(len(head) >> 8)}, []byte(head+data))
}

func TestBadFiles(t *testing.T) {
	dict := func(descr, shape string) string {
		return fmt.Sprintf("{'descr': %s, 'fortran_order': False, 'shape': %s}", descr, shape)
	}
	cases := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "no header"},
		{"magic", []byte("PK\x03\x04 not numpy"), "not a .npy file"},
		{"version", []byte(magic + "\x04\x00\x00\x00"), "format version 4.0"},
		{"long header", []byte(magic + "\x02\x00\xff\xff\xff\x7f"), "header of 2147483647 bytes"},
		{"cut header", []byte(magic + "\x01\x00\x10\x00{"), "unexpected EOF"},
		{"no dict", file("abc", ""), "expected '{'"},
		{"no shape", file("{'descr': '<f4'}", ""), `"fortran_order" is missing`},
		{"twice", file("{'descr': '<f4', 'descr': '<f4'}", ""), "given twice"},
		{"other key", file("{'x': '<f4'}", ""), "unknown key"},
		{"negative", file(dict("'<f4'", "(-1,)"), ""), "whole number"},
		{"not bool", file("{'descr': '<f4', 'fortran_order': 1, 'shape': ()}", ""), "expected True or False"},
		{"after dict", file(dict("'<f4'", "()")+" x", "abcd"), "text follows"},
		{"overflow", file(dict("'<f4'", "(4611686018427387904, 4)"), ""), "too large to address"},
		{"overflow of nothing", file(dict("'S0'", "(4611686018427387904, 4)"), ""), "too large to address"},
		{"huge dimension", file(dict("'<f4'", "(99999999999999999999,)"), ""), "out of range"},
		{"rank", file(dict("'<f4'", "("+strings.Repeat("1,", 65)+")"), "abcd"), "more than 64"},
		{"many empty strings", file(dict("'S0'", "(1000000000,)"), ""), "strings of no bytes"},
		{"short", file(dict("'<f4'", "(2,)"), "abcd"), "needs 8 bytes of data, found 4"},
		{"long", file(dict("'<f4'", "(1,)"), "abcdefgh"), "4 bytes follow"},
		{"bad bool", file(dict("'|b1'", "(1,)"), "\x02"), "expected 0 or 1"},
		{"bad rune", file(dict("'<U1'", "(1,)"), "\x00\xd8\x00\x00"), "no Unicode character"},
		{"type", file(dict("'<q9'", "(1,)"), ""), `unknown type "<q9"`},
		{"string length", file(dict("'S99999999999'", "(1,)"), ""), "string length"},
		{"f16", file(dict("'<f16'", "(1,)"), ""), "float width"},
	}
	for _, c := range cases {
		if _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want …%s…", c.name, err, c.want)
		}
		// A stream of unknown length must come to an error too, without taking memory first.
		if _, err := Read(io.MultiReader(bytes.NewReader(c.data))); err == nil && c.name != "long" {
			t.Errorf("%s: read from a stream", c.name)
		}
	}
}

func TestStreamDoesNotTrustTheHeader(t *testing.T) {
	data := file("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}", "abcd")
	if _, err := Read(bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), "found 4") {
		t.Error(err)
	}
}

func TestStreamGrows(t *testing.T) {
	x := tensor.New(dtype.Uint8, 3*firstChunk+5)
	for i := range x.Data {
		x.Data[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := Write(&b, x); err != nil {
		t.Fatal(err)
	}
	got, err := Read(io.MultiReader(&b))
	if err != nil || !bytes.Equal(got.Data, x.Data) {
		t.Fatal(got, err)
	}
}

func TestArchive(t *testing.T) {
	for _, compress := range []bool{false, true} {
		var b bytes.Buffer
		in := []Array{
			{"in_a/b", tensor.FromSlice([]float32{1, 2, 3, 4}, 2, 2)},
			{"out_../x:0", tensor.FromStrings([]string{"q", "rs"})},
		}
		if err := WriteArchive(&b, compress, in...); err != nil {
			t.Fatal(err)
		}
		a, err := NewArchive(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil || !slices.Equal(a.Names(), []string{"in_a/b", "out_../x:0"}) || !a.Has("in_a/b") {
			t.Fatal(a, err)
		}
		all, err := DecodeArchive(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tensor.Of[float32](all["in_a/b"]), []float32{1, 2, 3, 4}) || all["out_../x:0"].Strings[1] != "rs" {
			t.Errorf("%v", all)
		}
		if _, err := a.Read("c"); err == nil || !strings.Contains(err.Error(), "expected one of in_a/b") {
			t.Error(err)
		}
		a.MaxBytes = 100
		if _, err := a.Read("in_a/b"); err == nil || !strings.Contains(err.Error(), "at most 100") {
			t.Error(err)
		}
	}
	if err := WriteArchive(io.Discard, false, Array{"a", tensor.Scalar[int8](1)}, Array{"a", tensor.Scalar[int8](1)}); err == nil {
		t.Error("a name twice was written")
	}
}

func TestBadArchives(t *testing.T) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("readme.txt"); err != nil {
		t.Fatal(err)
	}
	z.Close()
	if _, err := DecodeArchive(b.Bytes()); err == nil || !strings.Contains(err.Error(), "readme.txt") {
		t.Error(err)
	}
	if _, err := DecodeArchive([]byte("nothing")); err == nil {
		t.Error("no zip, no error")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(file("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1)}", "abcdefgh"))
	f.Add(file("{'descr': '>U2', 'fortran_order': False, 'shape': (1,)}", "\x00\x00\x00a\x00\x00\x00\x00"))
	f.Add(file("{'descr': '|S2', 'fortran_order': False, 'shape': (2,)}", "ab\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Decode(data)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := Write(&b, x); err != nil {
			t.Fatalf("%v was read but not written: %v", x, err)
		}
		y, err := Decode(b.Bytes())
		if err != nil || x.String() != y.String() || !bytes.Equal(x.Data, y.Data) || !slices.Equal(x.Strings, y.Strings) {
			t.Fatalf("%v became %v: %v", x, y, err)
		}
	})
}

func FuzzDecodeArchive(f *testing.F) {
	var b bytes.Buffer
	if err := WriteArchive(&b, true, Array{"a", tensor.FromSlice([]int16{1, 2})}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := NewArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		a.MaxBytes = 1 << 20
		a.readAll() // must not panic
	})
}
