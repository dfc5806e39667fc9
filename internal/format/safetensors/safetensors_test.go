package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/testkit"
)

func tensor(name string, t dtype.Type, shape ...int) Source {
	return Source{name, t, shape, func(w io.Writer) error {
		n, err := sizeOf(t, shape)
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

func write(t testing.TB, metadata map[string]string, tensors ...Source) []byte {
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

// file is a header with data behind it.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func TestWriteAndParse(t *testing.T) {
	metadata := map[string]string{"format": "pt", "": "<ü>"}
	var list []Source
	for name, typ := range types {
		list = append(list, tensor(name, typ, 3, 5))
	}
	slices.SortFunc(list, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	list = append(list, tensor("scalar", dtype.Float32), tensor("empty", dtype.Int64, 2, 0))
	b := write(t, metadata, list...)
	if again := write(t, metadata, list...); !bytes.Equal(again, b) {
		t.Error("two times of writing differ")
	}
	f, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.Metadata, metadata) || len(f.Tensors) != len(list) {
		t.Errorf("%v, %d tensors", f.Metadata, len(f.Tensors))
	}
	at := 0
	for _, x := range f.Tensors {
		if size := x.Type.Bits() / 8; at%size != 0 {
			t.Errorf("%s at byte %d", x.Name, at)
		}
		at += len(x.Data)
	}
	for _, s := range list {
		x, err := f.Tensor(s.Name)
		if err != nil || x.Type != s.Type || !slices.Equal(x.Shape, s.Shape) {
			t.Fatalf("%s: %+v, %v", s.Name, x, err)
		}
		for i, v := range x.Data {
			if v != byte(i+len(s.Name)) {
				t.Fatalf("%s: byte %d is %d", s.Name, i, v)
			}
		}
	}
	if _, err := f.Tensor("none"); err == nil || f.Has("none") {
		t.Error("a tensor that is not there")
	}
}

func TestEmpty(t *testing.T) {
	b := write(t, nil)
	if string(b) != "\x08\x00\x00\x00\x00\x00\x00\x00{}      " {
		t.Errorf("%q", b)
	}
	if f, err := Parse(b); err != nil || len(f.Tensors) != 0 {
		t.Error(f, err)
	}
}

const a4 = `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`

func hostile() map[string]struct {
	file []byte
	err  string
} {
	type c = struct {
		file []byte
		err  string
	}
	one := func(fields string, data int) []byte { return file(`{"a":{`+fields+`}}`, data) }
	return map[string]c{
		"empty":          {nil, "0 bytes, expected the header's length"},
		"length":         {append(binary.LittleEndian.AppendUint64(nil, 100_000_001), make([]byte, 50)...), "100000001 bytes by the first 8, expected at most 100000000"},
		"large length":   {[]byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "not a safetensors file"},
		"cut header":     {file(a4+"}", 4)[:40], "the header has 54 bytes, but only 32 follow"},
		"pointer":        {[]byte("version https://git-lfs.github.com/spec/v1"), "Git LFS"},
		"GGUF":           {[]byte("GGUF\x03\x00\x00\x00\x00"), "this is a GGUF file"},
		"ZIP":            {[]byte("PK\x03\x04\x00\x00\x08\x08"), "ZIP archive"},
		"pickle":         {[]byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j"), "pickle"},
		"no JSON":        {file("hello", 0), "invalid character"},
		"cut JSON":       {file(a4, 4), "unexpected EOF"},
		"list":           {file("[]", 0), `found "[", expected "{"`},
		"number":         {file("1", 0), `found 1, expected "{"`},
		"behind":         {file("{} {}", 0), "found { after the JSON"},
		"garbage behind": {file("{} x", 0), "invalid character"},
		"not UTF-8":      {file("{\"\xff\":{}}", 0), "not UTF-8"},
		"half a pair":    {file(`{"\ud800":{}}`, 0), "not Unicode"},
		"name twice":     {file(a4+`,"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `"a" occurs twice`},
		"escaped twice":  {file(a4+`,"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `"a" occurs twice`},
		"metadata twice": {file(`{"__metadata__":{},"__metadata__":{}}`, 0), `"__metadata__" occurs twice`},
		"metadata":       {file(`{"__metadata__":{"k":1}}`, 0), `"__metadata__": "k": found 1, expected a string`},
		"metadata key":   {file(`{"__metadata__":{"k":"1","k":"2"}}`, 0), `"k" occurs twice`},
		"field twice":    {one(`"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]`, 4), `"dtype" occurs twice`},
		"field":          {one(`"dtype":"F32","shape":[1],"data_offsets":[0,4],"strides":[1]`, 4), `"strides": this field is not known`},
		"no type":        {one(`"shape":[1],"data_offsets":[0,4]`, 4), `"a": 2 fields, expected dtype, shape and data_offsets`},
		"type":           {one(`"dtype":"F4","shape":[1],"data_offsets":[0,4]`, 4), `type "F4" is not supported, expected one of BF16, BOOL, F16`},
		"type's type":    {one(`"dtype":1,"shape":[1],"data_offsets":[0,4]`, 4), "found 1, expected a type's name"},
		"shape":          {one(`"dtype":"F32","shape":1,"data_offsets":[0,4]`, 4), `"shape": found 1, expected "["`},
		"negative":       {one(`"dtype":"F32","shape":[-1],"data_offsets":[0,4]`, 4), "found -1, expected an integer from 0"},
		"fraction":       {one(`"dtype":"F32","shape":[1.0],"data_offsets":[0,4]`, 4), "found 1.0, expected an integer"},
		"power":          {one(`"dtype":"F32","shape":[1e0],"data_offsets":[0,4]`, 4), "found 1e0"},
		"large":          {one(`"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]`, 4), "found 18446744073709551616"},
		"product":        {one(`"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]`, 4), "more bytes than this system can address"},
		"null":           {one(`"dtype":"F32","shape":[null],"data_offsets":[0,4]`, 4), "found <nil>"},
		"one offset":     {one(`"dtype":"F32","shape":[1],"data_offsets":[4]`, 4), "found [4], expected the first byte and the one after the last"},
		"three offsets":  {one(`"dtype":"F32","shape":[1],"data_offsets":[0,4,8]`, 4), "found [0 4 8]"},
		"backwards":      {one(`"dtype":"F32","shape":[1],"data_offsets":[4,0]`, 4), "found [4 0]"},
		"size":           {one(`"dtype":"F32","shape":[2],"data_offsets":[0,4]`, 4), "4 bytes by its offsets, expected 8 (float32, shape [2])"},
		"cut data":       {one(`"dtype":"F32","shape":[1],"data_offsets":[0,4]`, 3), "takes bytes 0 to 4 of the data, which have 3"},
		"large offset":   {one(`"dtype":"F32","shape":[1],"data_offsets":[9223372036854775800,9223372036854775804]`, 4), "which have 4"},
		"trailing":       {one(`"dtype":"F32","shape":[1],"data_offsets":[0,4]`, 5), "bytes 4 to 5 of the data belong to no tensor"},
		"leading":        {one(`"dtype":"F32","shape":[1],"data_offsets":[4,8]`, 8), `bytes 0 to 4 of the data belong to no tensor: expected "a" to begin at 0`},
		"hole":           {file(a4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, 12), "bytes 4 to 8"},
		"overlap":        {file(a4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6), `"b" begins at byte 2 of the data, within tensor "a"`},
		"same":           {file(a4+`,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), `within tensor`},
	}
}

func TestHostile(t *testing.T) {
	for name, c := range hostile() {
		if f, err := Parse(c.file); err == nil || f != nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, expected %q", name, err, c.err)
		}
	}
}

func TestCutOff(t *testing.T) {
	b := write(t, map[string]string{"k": "v"}, tensor("a", dtype.Float32, 3), tensor("b", dtype.Int8, 7))
	for n := range b {
		if _, err := Parse(b[:n]); err == nil {
			t.Fatalf("%d of %d bytes were enough", n, len(b))
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	broken, short := tensor("a", dtype.Float32, 2), tensor("a", dtype.Float32, 2)
	broken.WriteTo = func(io.Writer) error { return io.ErrUnexpectedEOF }
	short.WriteTo = func(w io.Writer) error { _, err := w.Write(make([]byte, 7)); return err }
	for name, c := range map[string]struct {
		metadata map[string]string
		tensors  []Source
		err      string
	}{
		"metadata": {map[string]string{"k": "\xff"}, nil, "not UTF-8"},
		"type":     {nil, []Source{tensor("a", dtype.Int4, 2)}, "no type for int4"},
		"twice":    {nil, []Source{tensor("a", dtype.Int8, 2), tensor("a", dtype.Int8, 2)}, "occurs twice"},
		"reserved": {nil, []Source{tensor(metadataKey, dtype.Int8, 2)}, "reserved"},
		"name":     {nil, []Source{tensor("\xff", dtype.Int8, 2)}, "not UTF-8"},
		"negative": {nil, []Source{tensor("a", dtype.Int8, -2)}, "negative"},
		"large":    {nil, []Source{tensor("a", dtype.Int16, math.MaxInt)}, "more bytes"},
		"together": {nil, []Source{tensor("a", dtype.Int8, math.MaxInt), tensor("b", dtype.Int8, 1)}, "more bytes"},
		"source":   {nil, []Source{broken}, io.ErrUnexpectedEOF.Error()},
		"short":    {nil, []Source{short}, "wrote 7 bytes, expected 8"},
		"header":   {map[string]string{"k": strings.Repeat("x", 1000)}, nil, "the format allows 1000: write the model as several files"},
	} {
		if err := writeFile(io.Discard, c.metadata, c.tensors, 1000); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: got %v, expected %q", name, err, c.err)
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

func TestWriteReportsTheDisk(t *testing.T) {
	for _, room := range []int{0, 1 << 10, 1 << 22} {
		if err := Write(&full{room}, nil, []Source{tensor("a", dtype.Float32, 1<<20)}); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

func TestRealModel(t *testing.T) {
	path := testkit.Assets(t, "models/silero-vad/silero_vad_16k.safetensors")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, x := range f.Tensors {
		sum += int64(len(x.Data))
	}
	if len(f.Tensors) < 10 || sum < st.Size()*9/10 {
		t.Errorf("%d tensors with %d of %d bytes", len(f.Tensors), sum, st.Size())
	}
	again, err := Parse(write(t, f.Metadata, sources(f)...))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range f.Tensors {
		if y, err := again.Tensor(x.Name); err != nil || y.Type != x.Type || !slices.Equal(y.Shape, x.Shape) || !bytes.Equal(y.Data, x.Data) {
			t.Errorf("%s is another tensor when written and read again: %v", x.Name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range hostile() {
		if len(c.file) < 1<<16 {
			f.Add(c.file)
		}
	}
	f.Add(write(f, map[string]string{"k": "v"}, tensor("a", dtype.Float32, 3), tensor("b", dtype.Bool), tensor("c", dtype.Int64, 0, 9)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(write(t, file.Metadata, sources(file)...))
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range file.Tensors {
			if y, err := again.Tensor(x.Name); err != nil || !bytes.Equal(x.Data, y.Data) || !slices.Equal(x.Shape, y.Shape) {
				t.Fatalf("tensor %q: %v", x.Name, err)
			}
		}
	})
}
