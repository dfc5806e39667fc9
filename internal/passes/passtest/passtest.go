// Package passtest tests passes against goldens that people read. A golden is
// testdata/NAME.txt: comment lines, "opset N", the graph before, a line "----",
// and the graph after, or "unchanged" and the near misses that are reported.
// Before and after are also run on random inputs and must agree.
package passtest

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/tensor"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// Run tests the goldens testdata/NAME*.txt against the given passes.
func Run(t *testing.T, name string, passes ...pass.Pass) { RunAt(t, op.FP32, name, passes...) }

// RunAt is Run for a precision; numbers agree as far as it allows.
func RunAt(t *testing.T, precision op.Precision, name string, passes ...pass.Pass) {
	files, err := filepath.Glob(filepath.Join("testdata", name+"*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no goldens testdata/%s*.txt: %v", name, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) { golden(t, f, precision, passes) })
	}
}

func golden(t *testing.T, file string, precision op.Precision, passes []pass.Pass) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	source, want, _ := strings.Cut(string(raw), "----\n")
	before, after := parse(t, source), parse(t, source)
	report, err := pass.Run(after, passes, pass.Options{Level: pass.MaxLevel, Precision: precision, Verify: true})
	if err != nil {
		t.Fatal(err)
	}
	got := outcome(after, report)
	if *update {
		if err := os.WriteFile(file, []byte(source+"----\n"+got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	agree(t, before, after, precision)
}

func parse(t *testing.T, source string) *ir.Graph {
	t.Helper()
	opset := 17
	var text []string
	for line := range strings.Lines(source) {
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "opset "):
			if _, err := fmt.Sscanf(line, "opset %d", &opset); err != nil {
				t.Fatal(err)
			}
		default:
			text = append(text, line)
		}
	}
	g, err := ir.Parse(strings.Join(text, ""), opset)
	if err != nil {
		t.Fatal(err)
	}
	if err := complete(g); err != nil {
		t.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func complete(g *ir.Graph) error {
	for _, n := range g.Nodes {
		if err := op.Complete(n); err != nil {
			return err
		}
		for _, sub := range n.Subgraphs() {
			if err := complete(sub); err != nil {
				return err
			}
		}
	}
	return nil
}

func outcome(g *ir.Graph, r *pass.Report) string {
	changed := false
	var b strings.Builder
	for _, p := range r.Passes {
		if p.Stopped != "" {
			fmt.Fprintf(&b, "stopped: %s: %s\n", p.Name, p.Stopped)
		}
		changed = changed || len(p.Patches) > 0
		for _, n := range p.Near {
			fmt.Fprintf(&b, "near miss: %s: %s: %s\n", p.Name, n.Node, n.Reason)
		}
	}
	if !changed {
		return "unchanged\n" + b.String()
	}
	return g.String() + b.String()
}

// agree runs both graphs on the same random inputs.
func agree(t *testing.T, before, after *ir.Graph, precision op.Precision) {
	t.Helper()
	sizes := map[string]int{}
	rng := rand.New(rand.NewPCG(1, 1))
	var in []*tensor.Tensor
	for _, v := range before.Inputs {
		in = append(in, random(rng, v, sizes))
	}
	want := run(t, before, in)
	got := run(t, after, in)
	for i, w := range want {
		g := got[i]
		if g.DType != w.DType || fmt.Sprint(g.Shape) != fmt.Sprint(w.Shape) {
			t.Errorf("output %d: %s became %s", i, w, g)
			continue
		}
		tolerance, isFloat := tolerances[w.DType]
		if !isFloat {
			if string(g.Data) != string(w.Data) {
				t.Errorf("output %d differs", i)
			}
			continue
		}
		if precision == op.BF16 {
			tolerance = max(tolerance, bf16Tolerance)
		}
		got := num.Floats(g)
		for j, x := range num.Floats(w) {
			if !near(x, got[j], tolerance) {
				t.Errorf("output %d element %d: %g became %g", i, j, x, got[j])
				break
			}
		}
	}
}

// tolerances allow for another order of sums, and for roundings left out.
var tolerances = map[dtype.Type]float64{dtype.Float32: 1e-4, dtype.Float16: 1e-2, dtype.BFloat16: 1e-1}

// bf16Tolerance allows for what is rounded between operators.
const bf16Tolerance = 3e-2

// near compares two numbers. NaN is near NaN only.
func near(x, y, tolerance float64) bool {
	if x == y || x != x && y != y {
		return true
	}
	return math.Abs(x-y) <= tolerance*(1+math.Abs(x))
}

func run(t *testing.T, g *ir.Graph, in []*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	s := exec.New(g, exec.Options{})
	defer s.Close()
	out, err := s.Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func random(rng *rand.Rand, v *ir.Value, sizes map[string]int) *tensor.Tensor {
	shape := []int{}
	for _, d := range v.Type.Shape {
		n, ok := d.Int()
		if !ok {
			if n = sizes[d.String()]; n == 0 {
				n = 2 + len(sizes)
				sizes[d.String()] = n
			}
		}
		shape = append(shape, n)
	}
	t := tensor.New(v.Type.DType, shape...)
	if _, isFloat := tolerances[t.DType]; isFloat {
		x := make([]float64, t.Len())
		for i := range x {
			x[i] = rng.NormFloat64()
		}
		num.SetFloats(t, x)
		return t
	}
	for i := range t.Len() {
		t.Data[i*t.DType.Bits()/8] = byte(rng.IntN(2))
	}
	return t
}
