package explain

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

// digits writes the demo's digit model to a file.
func digits(t *testing.T) (file string, in []*tensor.Tensor) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "digits.onnx")
	if err := os.WriteFile(file, demo.Models()[0].ONNX, 0o644); err != nil {
		t.Fatal(err)
	}
	x := tensor.New(dtype.Float32, 2, 1, 28, 28)
	for i := range tensor.Of[float32](x) {
		tensor.Of[float32](x)[i] = float32(i%7) / 7
	}
	return file, []*tensor.Tensor{x}
}

func TestThePageHoldsEverything(t *testing.T) {
	file, in := digits(t)
	e, err := engine.Load(file, engine.Options{Level: pass.MaxLevel})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	x, err := Measure(context.Background(), "</script><b>", e, in, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(x.Steps) == 0 || x.Memory.Arena < x.Memory.ArenaBound || x.Roofline.GFlops <= 0 || x.Batching != "yes" {
		t.Errorf("%+v", x)
	}
	drawings, err := Snapshots(file, pass.Options{Level: pass.MaxLevel})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := x.HTML(&b, drawings); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Count(page, "</script>") != 1 {
		t.Error("a model's name can end the script")
	}
	for _, want := range []string{"as in the file", drawings[len(drawings)-1].Title, x.Steps[0].Name} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	b.Reset()
	if err := x.Print(&b); err != nil || !strings.Contains(b.String(), "Reorders of layout") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestEveryEdgePointsDown(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x float32[2]
  const %c float32[2] = 1 2
  %late = Neg(%c)
  %a = Neg(%x)
  %b = Add(%a, %x)
  %d = Mul(%b, %late)
  output %d
  output "also" %a
}`, 17)
	if err != nil {
		t.Fatal(err)
	}
	d := Draw("g", g)
	places := map[string]bool{}
	for _, e := range d.Edges {
		if d.Nodes[e[0]].Layer >= d.Nodes[e[1]].Layer {
			t.Errorf("%v to %v", d.Nodes[e[0]], d.Nodes[e[1]])
		}
	}
	for _, b := range d.Nodes {
		at := fmt.Sprint(b.Layer, " ", b.X)
		if places[at] {
			t.Errorf("two boxes at %s", at)
		}
		places[at] = true
		if b.Name == "Neg_late" && b.Layer != 2 {
			t.Errorf("a constant's node stands in layer %d, its reader in 3", b.Layer)
		}
	}
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	file, in := digits(t)
	c, err := Compare(context.Background(), file, file, One(in), engine.Options{Level: pass.MaxLevel})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Report(&b, false, 60); err != nil || !strings.Contains(b.String(), " 0 below 60 dB") {
		t.Errorf("%v %s", err, b.String())
	}
	for _, d := range c.Values {
		if d.Cosine < .999999 {
			t.Errorf("%+v", d)
		}
	}
}

func BenchmarkDraw5000(b *testing.B) {
	g := &ir.Graph{Name: "g"}
	x := ir.NewValue("x", ir.Type{DType: dtype.Float32})
	g.Inputs = []*ir.Value{x}
	values := []*ir.Value{x}
	for i := range 5000 {
		v := ir.NewValue(fmt.Sprint("v", i), ir.Type{DType: dtype.Float32})
		g.Nodes = append(g.Nodes, ir.NewNode("", "Add", 17, []*ir.Value{values[len(values)-1], values[i*i%len(values)]}, []*ir.Value{v}, nil))
		values = append(values, v)
	}
	g.AddOutput("y", values[len(values)-1])
	for b.Loop() {
		Draw("g", g)
	}
}
