package samples

import (
	"bytes"
	"context"
	"errors"
	stdimage "image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/image"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/npy"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

func graph(t testing.TB, inputs ...string) *ir.Graph {
	t.Helper()
	g, err := ir.Parse("graph \"g\" {\n  input "+strings.Join(inputs, "\n  input ")+"\n}\n", 17)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func archive(t testing.TB, arrays ...npy.Array) string {
	t.Helper()
	var b bytes.Buffer
	if err := npy.WriteArchive(&b, true, arrays...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func array(name string, t *tensor.Tensor) npy.Array { return npy.Array{Name: name, Tensor: t} }

// count is 0, 1, 2 … in some shape.
func count(dims ...int) *tensor.Tensor {
	x := make([]float32, tensor.Count(dims))
	for i := range x {
		x[i] = float32(i)
	}
	return tensor.FromSlice(x, dims...)
}

func at(t testing.TB, s Set, i int) []*tensor.Tensor {
	t.Helper()
	in, err := s.At(context.Background(), i)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func mustOpen(t testing.TB, path string, g *ir.Graph, o Options) Set {
	t.Helper()
	s, err := Open(path, g, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func labels(s Set) (list []int) {
	for i := range s.Len() {
		if c, ok := s.Label(i); ok {
			list = append(list, c)
		}
	}
	return list
}

// Arrays are cut into samples along the first dimension, whatever the model's
// batch is, in whatever order samples are asked for.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, input string
		dims        []int
		n           int
		one         string
	}{
		{"one", "%x float32[1,3]", []int{1, 3}, 1, "float32[1,3]"},
		{"many", "%x float32[1,3]", []int{5, 3}, 5, "float32[1,3]"},
		{"batches", "%x float32[2,3]", []int{6, 3}, 3, "float32[2,3]"},
		{"open", "%x float32[n,3]", []int{6, 3}, 6, "float32[1,3]"},
		{"no batch", "%x float32[1,3]", []int{3}, 1, "float32[1,3]"},
		{"stacked", "%x float32[n,3]", []int{4, 2, 3}, 4, "float32[2,3]"},
		{"signal", "%x float32[n]", []int{16}, 1, "float32[16]"},
		{"signals", "%x float32[n]", []int{2, 16}, 2, "float32[16]"},
		{"scalars", "%x float32[]", []int{3}, 3, "float32[]"},
		{"scalar", "%x float32[]", []int{}, 1, "float32[]"},
		{"any rank", "%x float32[*]", []int{2, 2}, 1, "float32[2,2]"},
	} {
		dir := t.TempDir()
		x := count(c.dims...)
		var b bytes.Buffer
		if err := npy.Write(&b, x); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{write(t, dir+"/a.npz", archive(t, array("x", x))), write(t, dir+"/a.npy", b.String())} {
			s, err := Open(path, graph(t, c.input), Options{})
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if s.Len() != c.n {
				t.Errorf("%s: %d samples, expected %d", c.name, s.Len(), c.n)
			}
			for _, order := range [][2]int{{0, 1}, {s.Len() - 1, -1}} {
				for i, k := order[0], 0; k < s.Len(); i, k = i+order[1], k+1 {
					in := at(t, s, i)
					if in[0].String() != c.one {
						t.Errorf("%s: %s, expected %s", c.name, in[0], c.one)
					}
					for j, v := range tensor.Of[float32](in[0]) {
						if want := float32(i*in[0].Len() + j); v != want {
							t.Fatalf("%s: sample %d has %g, expected %g", c.name, i, v, want)
						}
					}
				}
			}
		}
	}
}

// Several inputs go together; an array that fits as it is belongs to all samples.
func TestInputs(t *testing.T) {
	g := graph(t, "%x float32[n,2]", "%rate int64[]", "%state float32[2,1,3]", "%n float32[n]")
	path := write(t, t.TempDir()+"/a.npz", archive(t,
		array("x", count(4, 2)), array("in_rate", tensor.Scalar[int64](16)), array("in:state", count(2, 1, 3)), array("n", count(4)), array("labels", tensor.FromSlice([]int64{3, 1, 0, 2}))))
	s := mustOpen(t, path, g, Options{})
	in := at(t, s, 2)
	if s.Len() != 4 || tensor.Of[float32](in[0])[0] != 4 || tensor.Of[int64](in[1])[0] != 16 || in[2].Len() != 6 || in[3].String() != "float32[1]" || tensor.Of[float32](in[3])[0] != 2 {
		t.Errorf("%d samples; %v", s.Len(), in)
	}
	if got := labels(s); !reflect.DeepEqual(got, []int{3, 1, 0, 2}) {
		t.Errorf("labels %v", got)
	}
}

// The samples of a folder follow each other; a limit takes them evenly.
func TestFolder(t *testing.T) {
	dir, g := t.TempDir(), graph(t, "%x float32[1,2]")
	for i, n := range []int{3, 1, 2} {
		x := count(n, 2)
		for j := range x.Len() {
			tensor.Of[float32](x)[j] += float32(100 * i)
		}
		write(t, dir+"/"+string(rune('a'+i))+".npz", archive(t, array("x", x), array("labels", tensor.FromSlice([]int32{7, 8, 9}[:n]))))
	}
	write(t, dir+"/.hidden/x.npz", "no archive")
	write(t, dir+"/notes.md", "not read")
	want := []float32{0, 2, 4, 100, 200, 202}
	for limit, picks := range map[int][]int{0: {0, 1, 2, 3, 4, 5}, 9: {0, 1, 2, 3, 4, 5}, 3: {0, 2, 4}, 4: {0, 1, 3, 4}} {
		s := mustOpen(t, dir, g, Options{Limit: limit})
		if s.Len() != len(picks) {
			t.Errorf("limit %d: %d samples", limit, s.Len())
		}
		for i, p := range picks {
			if got := tensor.Of[float32](at(t, s, i)[0])[0]; got != want[p] {
				t.Errorf("limit %d, sample %d: %g, expected %g", limit, i, got, want[p])
			}
			if c, ok := s.Label(i); !ok || c != []int{7, 8, 9, 7, 7, 8}[p] {
				t.Errorf("limit %d, sample %d: label %d", limit, i, c)
			}
		}
	}
	if _, err := mustOpen(t, dir, g, Options{}).At(context.Background(), 6); err == nil {
		t.Error("no error for a sample behind the last")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := mustOpen(t, dir, g, Options{}).At(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestJSONLines(t *testing.T) {
	path := write(t, t.TempDir()+"/a.jsonl", "{\"input\": [1, 2.5, -3e2], \"label\": 4}\n\n  {\"x\":[[1,2,3]],\"label\":0}")
	s := mustOpen(t, path, graph(t, "%x float32[n,3]"), Options{})
	if got := labels(s); s.Len() != 2 || !reflect.DeepEqual(got, []int{4, 0}) {
		t.Fatalf("%d samples, labels %v", s.Len(), got)
	}
	in := at(t, s, 0)
	if got := tensor.Of[float32](in[0]); got[1] != 2.5 || got[2] != -300 || in[0].String() != "float32[1,3]" {
		t.Errorf("%s %v", in[0], got)
	}
	if in = at(t, s, 1); in[0].String() != "float32[1,3]" {
		t.Errorf("%v", in)
	}
	g := graph(t, "%i int64[1,n]", "%u uint8[2]", "%b bool[1]", "%d float64[]", "%h float16[1]")
	path = write(t, t.TempDir()+"/a.jsonl", `{"i": [-9007199254740993, 1], "u": [255, 0], "b": [true], "d": 0.1, "h": [1.5]}`)
	in = at(t, mustOpen(t, path, g, Options{}), 0)
	if tensor.Of[int64](in[0])[0] != -9007199254740993 || in[1].Data[0] != 255 || in[2].Data[0] != 1 || tensor.Of[float64](in[3])[0] != 0.1 || tensor.Of[uint16](in[4])[0] != 0x3e00 {
		t.Errorf("%v", in)
	}
}

func picture(t testing.TB, path string, gray uint8) {
	t.Helper()
	m := stdimage.NewGray(stdimage.Rect(0, 0, 2, 2))
	for i := range m.Pix {
		m.Pix[i] = gray
	}
	m.SetGray(0, 0, color.Gray{Y: gray})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	write(t, path, b.String())
}

// Pictures have the classes that their folders name.
func TestPictures(t *testing.T) {
	g := graph(t, "%x float32[n,1,2,2]")
	o := Options{Recipe: image.Spec{Color: "gray", Resize: "2x2", Scale: image.Numbers{1}, Layout: "nchw"}}
	for _, c := range []struct {
		folders []string
		names   string // a file of labels
		want    []int
	}{
		{[]string{"cat", "ant", "bee"}, "", []int{0, 1, 2}},
		{[]string{"10", "2"}, "", []int{10, 2}}, // the files' order is alphabetical
		{[]string{"cat", "ant", "bee"}, "bee\ncat\nant\n", []int{2, 0, 1}},
		{[]string{"cat", "ant"}, "a/0.png 5\nc/0.png 6\n", []int{5, 6}},
	} {
		dir := t.TempDir()
		for i, f := range c.folders {
			picture(t, dir+"/data/"+f+"/deep/0.png", uint8(10*i))
		}
		o := o
		if c.names != "" {
			o.Labels = write(t, dir+"/labels.txt", c.names)
		}
		s := mustOpen(t, dir+"/data", g, o)
		if got := labels(s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: classes %v, expected %v", c.folders, got, c.want)
		}
		if in := at(t, s, 0); in[0].String() != "float32[1,1,2,2]" {
			t.Errorf("%v: %s", c.folders, in[0])
		}
	}
	dir := t.TempDir()
	picture(t, dir+"/a.png", 7)
	if s := mustOpen(t, dir+"/a.png", g, o); tensor.Of[float32](at(t, s, 0)[0])[0] != 7 || labels(s) != nil {
		t.Errorf("one picture: %v", labels(s))
	}
}

func TestTexts(t *testing.T) {
	dir := testkit.Assets(t, "tokenizers/bert-hf")
	g := graph(t, "%input_ids int64[n,len]", "%token_type_ids int64[n,len]", "%attention_mask int64[n,len]")
	o := Options{Model: filepath.Join(dir, "model.onnx")}
	path := write(t, t.TempDir()+"/a.txt", "hello world\n\nthis is a longer text than the other one\n")
	s := mustOpen(t, path, g, o)
	in := at(t, s, 0)
	if ids := tensor.Of[int64](in[0]); s.Len() != 2 || ids[0] != 101 || ids[len(ids)-1] != 102 || in[2].String() != in[0].String() {
		t.Errorf("%d texts; %v", s.Len(), ids)
	}
	o.MaxTokens = 5
	if ids := tensor.Of[int64](at(t, mustOpen(t, path, g, o), 1)[0]); len(ids) != 5 || ids[4] != 102 {
		t.Errorf("cut to 5: %v", ids)
	}
	fixed := graph(t, "%input_ids int32[1,8]", "%attention_mask int32[1,8]")
	in = at(t, mustOpen(t, path, fixed, o), 0)
	if mask := tensor.Of[int32](in[1]); !reflect.DeepEqual(mask, []int32{1, 1, 1, 1, 0, 0, 0, 0}) {
		t.Errorf("mask %v", mask)
	}
	lines := write(t, t.TempDir()+"/a.jsonl", `{"text": "hello world", "label": 1}`)
	s = mustOpen(t, lines, g, o)
	if ids := tensor.Of[int64](at(t, s, 0)[0]); len(ids) != 4 || !reflect.DeepEqual(labels(s), []int{1}) {
		t.Errorf("%v %v", ids, labels(s))
	}
	if _, err := Open(path, g, Options{Model: t.TempDir() + "/m.onnx"}); err == nil || !strings.Contains(err.Error(), "tokenizer") {
		t.Errorf("no tokenizer: %v", err)
	}
}

// Errors name the file, the sample, the input, what was expected and found.
func TestErrors(t *testing.T) {
	nan := count(4, 3)
	tensor.Of[float32](nan)[7] = float32(math.NaN())
	one := []string{"%x float32[1,3]"}
	two := []string{"%x float32[1,3]", "%y float32[1,2]"}
	for _, c := range []struct {
		file, data string
		inputs     []string
		o          Options
		want       string
	}{
		{"a.npz", archive(t, array("y", count(4, 3))), one, Options{}, `a.npz: no array for input "x": the model has x float32[1,3], the file y`},
		{"a.npz", archive(t, array("x", count(4, 5))), one, Options{}, `a.npz: input "x": expected float32[1,3], or that with more rows`},
		{"a.npz", archive(t, array("x", count(5, 3))), []string{"%x float32[2,3]"}, Options{}, "a multiple of its 2 rows; found the shape [5 3]"},
		{"a.npz", archive(t, array("x", tensor.FromSlice(make([]float64, 6), 2, 3))), one, Options{}, "expected float32[1,3], found float64 [2 3]"},
		{"a.npz", archive(t, array("x", nan)), one, Options{}, `a.npz, sample 2: input "x": element 1 of float32[1,3] is NaN`},
		{"a.npz", archive(t, array("x", count(0, 3))), one, Options{}, "holds nothing"},
		{"a.npz", archive(t, array("x", count(3, 3)), array("y", count(2, 2))), two, Options{}, `input "x" holds 3 samples, input "y" holds 2`},
		{"a.npz", archive(t, array("x", count(3, 3)), array("labels", tensor.FromSlice([]int64{1}))), one, Options{}, `"labels" has 1 classes for 3 samples`},
		{"a.npz", archive(t, array("x", count(1, 3)), array("labels", tensor.FromSlice([]int64{-1}))), one, Options{}, "class 0 is -1"},
		{"a.npz", "no zip", one, Options{}, "a.npz: npz: zip"},
		{"a.npz", "", nil, Options{}, "no inputs"},
		{"a.npy", "", two, Options{}, "fills one input, the model has x float32[1,3], y float32[1,2]"},
		{"a.jsonl", "\n\n", one, Options{}, "no samples"},
		{"a.jsonl", "\n[1]", one, Options{}, "a.jsonl, line 2: expected an object"},
		{"a.jsonl", "null", one, Options{}, "found null"},
		{"a.jsonl", `{"z": [1]}`, one, Options{}, `a.jsonl, line 1: no input "x": the model has x float32[1,3], the line z`},
		{"a.jsonl", `{"x": [1, 2]}`, one, Options{}, `line 1: input "x": expected float32[1,3], found float32[1,2]`},
		{"a.jsonl", `{"x": [[1, 2], [3]]}`, one, Options{}, "found a list of 1 in dimension 1, the first has 2"},
		{"a.jsonl", `{"x": [[1, 2], 3]}`, one, Options{}, "lists must be equally deep"},
		{"a.jsonl", `{"x": [1, [2]]}`, one, Options{}, "lists must be equally deep"},
		{"a.jsonl", `{"x": [1, null, 3]}`, one, Options{}, "expected numbers in nested lists, found \"null"},
		{"a.jsonl", `{"x": [1, 1e40, 3]}`, one, Options{}, `element 1: "1e40" is no number of type float32`},
		{"a.jsonl", "{\"x\": [1,2,3], \"label\": 1}\n{\"x\": [1,2,3]}", one, Options{}, `1 of 2 lines have a "label"`},
		{"a.jsonl", `{"x": [1,2,3], "label": "dog"}`, one, Options{}, `"label" is "dog": expected a class`},
		{"a.jsonl", `{"text": "x"}`, one, Options{}, "texts fill inputs that are called input_ids"},
		{"a.txt", "x", one, Options{}, "texts fill inputs that are called input_ids"},
		{"a.csv", "1,2", one, Options{}, "a.csv: no form of data that is known"},
		{"a.png", "no picture", []string{"%x float32[1,1,2,2]"}, Options{Recipe: image.Spec{Color: "gray", Resize: "2x2", Scale: image.Numbers{1}, Layout: "nchw"}}, "a.png"},
		{"d/a.npz", archive(t, array("x", count(1, 3))), one, Options{Labels: "l.txt"}, "2 classes for 1 samples"},
		{"d/a.npz", archive(t, array("x", count(1, 3))), one, Options{Labels: "bad.txt"}, `line 2 is "b": expected a class`},
		{"a.npz", archive(t, array("x", count(1, 3))), one, Options{Limit: -1}, "a limit of -1"},
	} {
		dir := t.TempDir()
		write(t, dir+"/l.txt", "1\n2\n")
		write(t, dir+"/bad.txt", "1\nb\n")
		path := write(t, filepath.Join(dir, c.file), c.data)
		o := c.o
		if o.Labels != "" {
			o.Labels = filepath.Join(dir, o.Labels)
		}
		g := &ir.Graph{}
		if c.inputs != nil {
			g = graph(t, c.inputs...)
		}
		s, err := Open(path, g, o)
		for i := 0; err == nil && i < s.Len(); i++ {
			_, err = s.At(context.Background(), i)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; expected %q", c.file, err, c.want)
		}
	}
	dir := t.TempDir()
	if _, err := Open(dir, graph(t, one...), Options{}); err == nil || !strings.Contains(err.Error(), "no data: expected files") {
		t.Errorf("empty folder: %v", err)
	}
	picture(t, dir+"/a.png", 1)
	picture(t, dir+"/b/a.png", 1)
	o := Options{Recipe: image.Spec{Color: "gray", Resize: "2x2", Scale: image.Numbers{1}, Layout: "nchw"}}
	if _, err := Open(dir, graph(t, "%x float32[1,1,2,2]"), o); err == nil || !strings.Contains(err.Error(), "a.png lies beside folders") {
		t.Errorf("mixed folder: %v", err)
	}
	write(t, dir+"/b.npz", "")
	if _, err := Open(dir, graph(t, one...), Options{}); err == nil || !strings.Contains(err.Error(), "files of one kind") {
		t.Errorf("two kinds: %v", err)
	}
}
