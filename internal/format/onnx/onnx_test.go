package onnx_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/tensor"
)

// The helpers below write protobuf by hand, so that tests can write what no
// library would.

func field(id protowire.Number, v any) []byte {
	switch v := v.(type) {
	case int:
		return protowire.AppendVarint(protowire.AppendTag(nil, id, protowire.VarintType), uint64(v))
	case string:
		return protowire.AppendString(protowire.AppendTag(nil, id, protowire.BytesType), v)
	case []byte:
		return protowire.AppendBytes(protowire.AppendTag(nil, id, protowire.BytesType), v)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, id, protowire.BytesType), nil)
}

func msg(fields ...[]byte) []byte { return bytes.Join(fields, nil) }

func node(op string, in, out []string, more ...[]byte) []byte {
	var b []byte
	for _, s := range in {
		b = append(b, field(1, s)...)
	}
	for _, s := range out {
		b = append(b, field(2, s)...)
	}
	return field(1, msg(b, field(4, op), msg(more...)))
}

func value(id protowire.Number, name string, dims ...int) []byte {
	var shape []byte
	for _, d := range dims {
		shape = append(shape, field(1, field(1, d))...)
	}
	return field(id, msg(field(1, name), field(2, field(1, msg(field(1, 1), field(2, shape))))))
}

func initializer(name string, raw []byte, more ...[]byte) []byte {
	return field(5, msg(field(1, len(raw)/4), field(2, 1), field(8, name), field(9, raw), msg(more...)))
}

func opset(v int) []byte { return field(8, msg(field(1, ""), field(2, v))) }

// model wraps a graph's fields.
func model(graph ...[]byte) []byte {
	return msg(field(1, 8), opset(17), field(7, msg(graph...)))
}

func simple() []byte {
	return model(
		node("Add", []string{"x", "w"}, []string{"y"}), field(2, "g"),
		initializer("w", tensor.AsBytes([]float32{1, 2})),
		value(11, "x", 2), value(12, "y", 2))
}

func runModel(t *testing.T, m *onnx.Model, in ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	out, err := exec.New(m.Graph, exec.Options{}).Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseAliasesWeights(t *testing.T) {
	raw := simple()
	m, err := onnx.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	w := m.Graph.Nodes[0].In[1].Const.Data
	if at := bytes.Index(raw, w); at < 0 || &raw[at] != &w[0] {
		t.Error("the weights were copied")
	}
	out := runModel(t, m, tensor.FromSlice([]float32{10, 20}))
	if got := tensor.Of[float32](out[0]); got[0] != 11 || got[1] != 22 {
		t.Errorf("got %v", got)
	}
}

func TestBadModelsAreRefusedWithAReason(t *testing.T) {
	x, y := value(11, "x", 2), value(12, "y", 2)
	w := initializer("w", tensor.AsBytes([]float32{1, 2}))
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"no graph", msg(field(1, 8), opset(17)), "it has no graph"},
		{"old IR", msg(field(1, 2), opset(17), field(7, nil)), "IR version 2: expected 3 to 13"},
		{"new opset", msg(field(1, 8), opset(99), field(7, nil)), "opset 99 of ai.onnx is newer"},
		{"no opset", msg(field(1, 8), field(7, msg(node("Neg", []string{"x"}, []string{"y"}), x, y))), "imports no version of the domain ai.onnx"},
		{"cycle", model(node("Add", []string{"x", "b"}, []string{"a"}), node("Neg", []string{"a"}, []string{"b"}), node("Neg", []string{"b"}, []string{"y"}), x, y), "the graph has a cycle through node"},
		{"unknown input", model(node("Neg", []string{"z"}, []string{"y"}), x, y), `input 0 ("z") is neither`},
		{"double output", model(node("Neg", []string{"x"}, []string{"y"}), node("Abs", []string{"x"}, []string{"y"}), x, y), `output "y" is already defined`},
		{"missing output", model(node("Neg", []string{"x"}, []string{"z"}), x, y), `output "y" is produced by no node`},
		{"unknown operators", model(node("Foo", []string{"x"}, []string{"z"}), node("Bar", []string{"z"}, []string{"y"}), x, y), "2 unsupported or malformed nodes"},
		{"unknown attribute", model(node("Neg", []string{"x"}, []string{"y"}, field(5, msg(field(1, "alpha"), field(3, 1), field(20, 2)))), x, y), `attribute "alpha" is unknown`},
		{"attribute type", model(node("Softmax", []string{"x"}, []string{"y"}, field(5, msg(field(1, "axis"), field(4, "one"), field(20, 3)))), x, y), `attribute "axis": expected int, found string`},
		{"too few inputs", model(node("Add", []string{"x"}, []string{"y"}), x, y), "expected 2 inputs, found 1"},
		{"types", model(node("Cast", []string{"x"}, []string{"i"}, field(5, msg(field(1, "to"), field(3, 7), field(20, 2)))), node("Add", []string{"x", "i"}, []string{"y"}), x, y), "has type int64, expected float32"},
		{"shapes", model(node("Add", []string{"x", "w"}, []string{"y"}), initializer("w", tensor.AsBytes([]float32{1, 2, 3})), x, y), "do not broadcast"},
		{"short weights", model(node("Add", []string{"x", "w"}, []string{"y"}), field(5, msg(field(1, 100), field(2, 1), field(8, "w"), field(9, make([]byte, 8)))), x, y), "needs 400 bytes of raw data, found 8"},
		{"huge weights", model(node("Add", []string{"x", "w"}, []string{"y"}), field(5, msg(field(1, 1<<40), field(1, 1<<40), field(2, 1), field(8, "w"), field(9, nil))), x, y), "too many elements"},
		{"negative dimension", model(node("Add", []string{"x", "w"}, []string{"y"}), field(5, msg(field(1, -1), field(2, 1), field(8, "w"), field(9, nil))), x, y), "dimension 0 is -1"},
		{"element type", model(node("Add", []string{"x", "w"}, []string{"y"}), field(5, msg(field(1, 1), field(2, 77), field(8, "w"), field(9, nil))), x, y), "element type 77 is unknown"},
		{"external in memory", model(node("Add", []string{"x", "w"}, []string{"y"}), field(5, msg(field(1, 2), field(2, 1), field(8, "w"), field(13, msg(field(1, "location"), field(2, "w.bin"))), field(14, 1))), x, y), "external data is not allowed here"},
		{"damaged", simple()[:20], "damaged"},
		{"zip", []byte("PK\x03\x04 and so on"), "torch.onnx.export"},
		{"keras", []byte("PK\x03\x04" + strings.Repeat("\x00", 26) + "metadata.json{}"), "model.export"},
		{"tflite", []byte("\x1c\x00\x00\x00TFL3"), "tf2onnx"},
		{"pickle", []byte("\x80\x02}q\x00"), "pickle"},
		{"hdf5", []byte("\x89HDF\r\n\x1a\n"), "Keras"},
		{"savedmodel", []byte("\x08\x01\x12\x90saved_model"), "SavedModel"},
		{"savedmodel with a long list of operators", []byte("\x08\x01\x12\x90\x80\x04\x0a\x80\x10\x12\x80"), "SavedModel"},
		{"pointer of Git LFS", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:12\n"), "git lfs pull"},
		{"page", []byte("<!DOCTYPE html><html>404"), "a download that went wrong"},
		{"twice", model(node("Neg", []string{"x"}, []string{"y"}), w, w, x, y), `initializer "w" is defined twice`},
	} {
		_, err := onnx.Parse(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.name, err, c.want)
		}
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	file := simple()
	for n := range len(file) {
		if m, err := onnx.Parse(file[:n]); err == nil && len(m.Graph.Outputs) > 0 {
			t.Errorf("the first %d of %d bytes were taken for a model", n, len(file))
		}
	}
}

// The file that names the data would be of no use without it.
func TestExternalDataIsNotWrittenOver(t *testing.T) {
	dir := t.TempDir()
	path, data := filepath.Join(dir, "m.onnx"), filepath.Join(dir, "w.bin")
	weights := tensor.AsBytes([]float32{1, 2})
	file := model(node("Add", []string{"x", "w"}, []string{"y"}),
		field(5, msg(field(1, 2), field(2, 1), field(8, "w"), field(13, msg(field(1, "location"), field(2, "w.bin"))), field(14, 1))),
		value(11, "x", 2), value(12, "y", 2))
	for name, b := range map[string][]byte{path: file, data: weights} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.WriteFile(data); err == nil || !strings.Contains(err.Error(), "holds weights of the model that was read") {
		t.Errorf("writing over the data: %v", err)
	}
	if b, err := os.ReadFile(data); err != nil || !bytes.Equal(b, weights) {
		t.Errorf("the data became %v (%v)", b, err)
	}
	if err := m.WriteFile(filepath.Join(dir, "other.onnx")); err != nil {
		t.Error(err)
	}
}

func TestExternalDataStaysInTheModelsFolder(t *testing.T) {
	file := func(location string) []byte {
		return model(node("Add", []string{"x", "w"}, []string{"y"}),
			field(5, msg(field(1, 2), field(2, 1), field(8, "w"), field(13, msg(field(1, "location"), field(2, location))), field(13, msg(field(1, "offset"), field(2, "4"))), field(14, 1))),
			value(11, "x", 2), value(12, "y", 2))
	}
	dir := t.TempDir()
	inside := filepath.Join(dir, "model")
	if err := os.MkdirAll(filepath.Join(inside, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(path string, b []byte) {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	weights := tensor.AsBytes([]float32{9, 1, 2})
	write(filepath.Join(inside, "data", "w.bin"), weights)
	write(filepath.Join(dir, "secret.bin"), weights)
	if err := os.Symlink("../secret.bin", filepath.Join(inside, "link.bin")); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct{ location, want string }{
		{"data/w.bin", ""},
		{"./data/../data/w.bin", ""},
		{"../secret.bin", "outside the model's folder"},
		{"/etc/passwd", "outside the model's folder"},
		{`..\secret.bin`, "outside the model's folder"},
		{"link.bin", "escapes"},
		{"missing.bin", "no such file"},
		{"", "no location"},
	} {
		path := filepath.Join(inside, "m.onnx")
		write(path, file(c.location))
		m, err := onnx.Load(path)
		if c.want == "" {
			if err != nil {
				t.Errorf("%q: %v", c.location, err)
				continue
			}
			if got := tensor.Of[float32](m.Graph.Nodes[0].In[1].Const); got[0] != 1 || got[1] != 2 {
				t.Errorf("%q: got %v", c.location, got)
			}
			m.Close()
		} else if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q in it", c.location, err, c.want)
		}
	}
	fsys := fstest.MapFS{"a/m.onnx": {Data: file("w.bin")}, "a/w.bin": {Data: weights}}
	if _, err := onnx.LoadFS(fsys, "a/m.onnx"); err != nil {
		t.Error(err)
	}
}

// double(x, k=2) = x·k, once with the default and once with k = 3 given.
func functionModel() []byte {
	body := msg(field(1, "double"), field(4, "a"), field(5, "b"), field(10, "local"), field(9, msg(field(1, ""), field(2, 17))),
		field(11, msg(field(1, "k"), protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), 0x40000000), field(20, 1))),
		field(7, msg(field(2, "k"), field(4, "Constant"), field(5, msg(field(1, "value_float"), field(21, "k"), field(20, 1))))),
		field(7, msg(field(1, "a"), field(1, "k"), field(2, "b"), field(4, "Mul"))))
	call := func(in, out string, more ...[]byte) []byte {
		return node("double", []string{in}, []string{out}, append(more, field(7, "local"))...)
	}
	three := field(5, msg(field(1, "k"), protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), 0x40400000), field(20, 1)))
	return msg(field(1, 8), opset(17), field(8, msg(field(1, "local"), field(2, 1))), field(25, body),
		field(7, msg(call("x", "t"), call("t", "y", three), value(11, "x", 2), value(12, "y", 2))))
}

func TestFunctionsAreExpanded(t *testing.T) {
	m, err := onnx.Parse(functionModel())
	if err != nil {
		t.Fatal(err)
	}
	out := runModel(t, m, tensor.FromSlice([]float32{1, 2}))
	if got := tensor.Of[float32](out[0]); got[0] != 6 || got[1] != 12 {
		t.Errorf("got %v, want [6 12]", got)
	}
}

func TestRecursiveFunctionsAreRefused(t *testing.T) {
	body := msg(field(1, "f"), field(4, "a"), field(5, "b"), field(10, "local"), field(7, msg(field(1, "a"), field(2, "b"), field(4, "f"), field(7, "local"))))
	_, err := onnx.Parse(msg(field(1, 8), opset(17), field(25, body), field(7, msg(node("f", []string{"x"}, []string{"y"}, field(7, "local")), value(11, "x", 2), value(12, "y", 2)))))
	if err == nil || !strings.Contains(err.Error(), "function f calls itself") {
		t.Errorf("got %v", err)
	}
}

// Forty functions that each call the one before twice stand for 2^40 nodes.
func TestFunctionsThatGrowAreRefused(t *testing.T) {
	var functions []byte
	callee := []byte{}
	for i := range 40 {
		name, inner := fmt.Sprintf("f%d", i), "Neg"
		if i > 0 {
			inner = fmt.Sprintf("f%d", i-1)
			callee = field(7, "local")
		}
		functions = append(functions, field(25, msg(field(1, name), field(4, "a"), field(5, "c"), field(10, "local"), field(9, msg(field(1, ""), field(2, 17))),
			field(7, msg(field(1, "a"), field(2, "b"), field(4, inner), callee)), field(7, msg(field(1, "b"), field(2, "c"), field(4, inner), callee))))...)
	}
	_, err := onnx.Parse(msg(field(1, 8), opset(17), functions, field(7, msg(node("f39", []string{"x"}, []string{"y"}, field(7, "local")), value(11, "x", 2), value(12, "y", 2)))))
	if err == nil || err.Error() != "the model's functions stand for more than 131072 nodes" {
		t.Errorf("got %v", err)
	}
}

func TestWriteRoundTrips(t *testing.T) {
	for _, file := range [][]byte{simple(), functionModel()} {
		m, err := onnx.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			t.Fatal(err)
		}
		again, err := onnx.Parse(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		in := tensor.FromSlice([]float32{3, 4})
		if got, want := runModel(t, again, in), runModel(t, m, in); !bytes.Equal(got[0].Data, want[0].Data) {
			t.Errorf("got %v want %v", tensor.Of[float32](got[0]), tensor.Of[float32](want[0]))
		}
	}
}

// One value as two outputs, an input as an output, and a constant as an output
// need nodes of their own in a file.
func TestWriteKeepsOutputNames(t *testing.T) {
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32})
	y := ir.NewValue("hidden", ir.Type{DType: dtype.Float32})
	g := &ir.Graph{Inputs: []*ir.Value{x}, Opsets: map[string]int{"": 17}}
	g.Nodes = append(g.Nodes, ir.NewNode("", "Neg", 17, []*ir.Value{x}, []*ir.Value{y}, nil))
	for _, o := range []struct {
		name string
		v    *ir.Value
	}{{"a", y}, {"b", y}, {"c", x}, {"d", ir.NewConst("k", tensor.Scalar[float32](5))}} {
		g.AddOutput(o.name, o.v)
	}
	var b bytes.Buffer
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).Write(&b); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	out := runModel(t, m, tensor.Scalar[float32](2))
	for i, want := range []float32{-2, -2, 2, 5} {
		if got := tensor.Of[float32](out[i])[0]; got != want || m.Graph.Outputs[i].Name != string(rune('a'+i)) {
			t.Errorf("output %d %q: got %v want %v", i, m.Graph.Outputs[i].Name, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(simple())
	f.Add(functionModel())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := onnx.Parse(b)
		if err == nil {
			_ = m.Write(&bytes.Buffer{})
			m.Close()
		}
	})
}
