package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/tensor"
	"google.golang.org/protobuf/encoding/protowire"
)

func large(t *testing.T) *Model {
	t.Helper()
	g, err := ir.Parse(`graph "g" {
  input %x float32[n,64]
  const %w float32[64,64] = …
  const %v float32[64,33] = …
  const %b float32[33] = …
  %y = MatMul(%x, %w)
  %z = MatMul(%y, %v)
  %o = Add(%z, %b)
  output %o
}
`, 17)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": 17}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	return &Model{Graph: g, IRVersion: 8}
}

func TestWeightsBesideAFileThatIsTooLarge(t *testing.T) {
	m := large(t)
	path := filepath.Join(t.TempDir(), "large.onnx")
	if err := m.writeFile(path, 2000); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 2000 {
		t.Fatalf("the model has %d bytes, want at most 2000 (%v)", info.Size(), err)
	}
	data, err := os.Stat(path + ".data")
	if err != nil || data.Size() < 4*64*(64+33) {
		t.Fatalf("the weights: %v, %v", data, err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	for i, name := range []string{"w", "v"} {
		want, have := m.Graph.Nodes[i].In[1], got.Graph.Nodes[i].In[1]
		if have.Name != name || !have.IsConst() || !bytes.Equal(have.Const.Data, want.Const.Data) {
			t.Errorf("constant %q came back as %q %v", name, have.Name, have.Type)
		}
	}
}

func TestAFileThatFitsHasNothingBesideIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "small.onnx")
	if err := large(t).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".data"); !os.IsNotExist(err) {
		t.Errorf("weights beside a small model: %v", err)
	}
}

func TestAModelTooLargeWithoutItsWeights(t *testing.T) {
	dir := t.TempDir()
	err := large(t).writeFile(filepath.Join(dir, "m.onnx"), 100)
	if err == nil || !strings.Contains(err.Error(), "without its weights") {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("files were left behind: %v", left)
	}
}

func TestEachAttributeHasOneKind(t *testing.T) {
	e := &writer{}
	for code, kind := range attrKinds {
		if kind == ir.KindGraph || kind == ir.KindGraphs || code == sparseTensor {
			continue
		}
		a := &ir.Attr{Kind: kind, Tensor: tensor.FromSlice([]float32{1}), Type: &ir.Type{DType: dtype.Float32}}
		m, err := e.attribute("a", a)
		if err != nil {
			t.Fatal(err)
		}
		m.flush()
		want := protowire.AppendVarint(protowire.AppendTag(nil, 20, protowire.VarintType), code)
		if all := bytes.Join(m.pieces, nil); bytes.Count(all, want[:2]) != 1 || !bytes.Contains(all, want) {
			t.Errorf("kind %s is written as % x, want one type % x", kind, all, want)
		}
	}
}

// Types of intermediate values are written if the model had some, or has operators of
// com.microsoft.
func TestTypesAreWrittenWhereTheyWereRead(t *testing.T) {
	for _, c := range []struct {
		typed, contributed, want bool
	}{{false, false, false}, {true, false, true}, {false, true, true}} {
		m := large(t)
		m.Typed = c.typed
		if c.contributed {
			m.Graph.Opsets[op.Microsoft] = 1
		}
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := m.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if got.Typed != c.want {
			t.Errorf("%+v: types written %v", c, got.Typed)
		}
		got.Close()
	}
}

// An input of a subgraph whose name is taken outside gets another, in its list of
// inputs as in the nodes that read it.
func TestInputsOfSubgraphsKeepTheirNodes(t *testing.T) {
	text := `graph "g" {
  input %x float32[4]
  const %m int64[] = 3
  const %c bool[] = true
  %s = Loop(%m, %c, %x) {body = graph "b" {
    input %i int64[]
    input %cin bool[]
    input %s float32[4]
    %o = Tanh(%s)
    output %cin
    output %o
  }}
  output %s
}
`
	g, err := ir.Parse(text, 17)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": 17}
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := (&Model{Graph: g, IRVersion: 8}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	body := m.Graph.Nodes[len(m.Graph.Nodes)-1].Subgraphs()[0]
	if in := body.Inputs[2]; len(in.Uses()) != 1 {
		t.Errorf("the state %s has %d uses in\n%s", in.Name, len(in.Uses()), m.Graph)
	}
}

// onnxruntime refuses a subgraph that returns a value of the graph around it under that value's name.
func TestSubgraphsReturnWhatStandsOutsideUnderAnotherName(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x float32[4]
  input %c bool[]
  const %k float32[4] = …
  %y = If(%c) {else_branch = graph "e" {
    output %k
  }, then_branch = graph "t" {
    output %x
  }}
  output %y
}
`, 17)
	if err != nil {
		t.Fatal(err)
	}
	g.Opsets = map[string]int{"": 17}
	var b bytes.Buffer
	if err := (&Model{Graph: g, IRVersion: 8}).Write(&b); err != nil {
		t.Fatal(err)
	}
	m, err := Parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range m.Graph.Nodes[len(m.Graph.Nodes)-1].Subgraphs() {
		if len(sub.Nodes) != 1 || !sub.Nodes[0].Is("Identity") || sub.Outputs[0].Name == sub.Nodes[0].In[0].Name {
			t.Errorf("expected an Identity whose result has another name than its input:\n%s", m.Graph)
		}
	}
}
