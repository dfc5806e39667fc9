package guard

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

// images are drawings of a kind, whose class is what the float network says.
type images struct {
	x      []*tensor.Tensor
	labels []int
}

func (s *images) Len() int                                              { return len(s.x) }
func (s *images) At(_ context.Context, i int) ([]*tensor.Tensor, error) { return s.x[i : i+1], nil }
func (s *images) Label(i int) (int, bool) {
	if s.labels == nil {
		return 0, false
	}
	return s.labels[i], true
}

// digits is the demo's network, prepared and calibrated.
func digits(t *testing.T) (*ir.Graph, *images, Apply) {
	t.Helper()
	m, err := onnx.Parse(demo.Models()[0].ONNX)
	if err != nil {
		t.Fatal(err)
	}
	set := &images{}
	for k := range 24 {
		x := tensor.New(1, 1, 1, 28, 28)
		for i := range tensor.Of[float32](x) {
			a, b := float64(i%28)-14, float64(i/28)-14
			tensor.Of[float32](x)[i] = float32(max(0, math.Sin(a*(.1+.03*float64(k%5)))*math.Cos(b*(.2+.02*float64(k%7))+float64(k))))
		}
		set.x = append(set.x, x)
	}
	g, o := m.Graph, ptq.Options{}
	if err := ptq.Prepare(t.Context(), g, o); err != nil {
		t.Fatal(err)
	}
	c, err := ptq.Calibrate(t.Context(), g, set, func() (calib.Observer, error) { return calib.New("minmax", calib.Options{}) }, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g, set, func(keep map[string]ptq.Precision) (*ir.Graph, *report.Report, error) {
		o := o
		o.Keep = keep
		return ptq.Apply(g, c, o)
	}
}

func TestHold(t *testing.T) {
	g, set, apply := digits(t)
	r, err := NewRunner(g, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raised := map[float64]float64{}
	_, plain, err := Hold(t.Context(), r, apply, Options{})
	if err != nil {
		t.Fatal(err)
	}
	base := plain.Measures["sqnr_db"]
	for _, least := range []float64{1, base + 1, base + 4} {
		told := 0
		q, rep, err := Hold(t.Context(), r, apply, Options{Bound: Bound{MinSQNR: least}, Raise: ptq.Float32, Progress: func(done, all int) { told = done }})
		if err != nil {
			t.Fatalf("%g dB: %v", least, err)
		}
		out, err := r.Measure(t.Context(), q, set.Len())
		if err != nil {
			t.Fatal(err)
		}
		if out.SQNR() < least || math.Abs(rep.Measures["sqnr_db"]-out.SQNR()) > 1e-9 {
			t.Errorf("%g dB: %g, the report says %g", least, out.SQNR(), rep.Measures["sqnr_db"])
		}
		kept, reasons := 0, 0
		for _, l := range rep.Layers {
			if l.Precision == "float32" {
				kept++
			}
			if strings.Contains(l.Reason, "SQNR of at least") {
				reasons++
			}
		}
		raised[least] = rep.Measures["raised"]
		if float64(kept) != rep.Measures["raised"] || kept != reasons || kept > 0 && told != len(rep.Layers) || kept == len(rep.Layers) {
			t.Errorf("%g dB: %d layers in float32, %d with a reason, %v", least, kept, reasons, rep.Measures)
		}
	}
	if raised[1] != 0 || raised[base+1] == 0 || raised[base+4] < raised[base+1] {
		t.Errorf("%.1f dB with all; raised %v", base, raised)
	}
}

// A bound that nothing meets, and bounds that cannot be measured, are errors.
func TestHoldRefuses(t *testing.T) {
	g, set, apply := digits(t)
	r, err := NewRunner(g, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for says, b := range map[string]Bound{"no layer can be quantized": {MinSQNR: 190}, "needs data with labels": {MaxDrop: .01}} {
		if _, _, err := Hold(t.Context(), r, apply, Options{Bound: b, Raise: ptq.Float32}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v", b, err)
		}
	}
}

// Labels and divergence are bounded too.
func TestHoldClasses(t *testing.T) {
	g, set, apply := digits(t)
	r, err := NewRunner(g, set, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range set.x {
		y, err := r.answer(t.Context(), i, set.x[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		set.labels = append(set.labels, argmax(tensor.Of[float32](y[0])))
	}
	_, plain, err := Hold(t.Context(), r, apply, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []Bound{{MaxDrop: .001}, {MaxKLD: .5 * plain.Measures["kld"]}} {
		_, rep, err := Hold(t.Context(), r, apply, Options{Bound: b, Raise: ptq.Float32})
		if err != nil {
			t.Fatal(err)
		}
		m := rep.Measures
		if m["top1_before"] != 1 || b.MaxDrop > 0 && m["top1_after"] < .999 || b.MaxKLD > 0 && m["kld"] > b.MaxKLD {
			t.Errorf("%v: %v", b, m)
		}
	}
}

func TestDivergence(t *testing.T) {
	var d Divergence
	if k := d.Add([]float32{0, 0}, []float32{0, 0}); k != 0 {
		t.Errorf("equal: %g", k)
	}
	// p = (¾, ¼), q = (½, ½): ¾ ln 1.5 + ¼ ln .5
	want := .75*math.Log(1.5) + .25*math.Log(.5)
	if k := d.Add([]float32{5, 5}, []float32{float32(math.Log(3)), 0}); math.Abs(k-want) > 1e-6 {
		t.Errorf("%g, expected %g", k, want)
	}
	if k := d.Add([]float32{0, float32(math.Inf(-1))}, []float32{0, float32(math.Inf(-1))}); k != 0 {
		t.Errorf("a class that neither allows: %g", k)
	}
	if d.Len() != 3 || d.Agreement() != 1 || math.Abs(d.Mean()-want/3) > 1e-6 || d.Quantile(.5) != 0 || math.Abs(d.Quantile(1)-want) > 1e-6 {
		t.Errorf("%+v", d)
	}
	if math.Abs(LogProb([]float32{1000, 1000}, 1)+math.Ln2) > 1e-12 {
		t.Error("large logits overflow")
	}
}

func TestSlow(t *testing.T) {
	g, err := ir.Parse(`graph "g" {
  input %x float32[1,32,8,8]
  const %w float32[32,1,3,3] = …
  const %v float32[32,32,1,1] = …
  %d = Conv(%x, %w) {group = 32}
  %y = Conv(%d, %v) {group = 1}
  output %y
}
`, 17)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range Targets {
		slow := target.Slow(g)
		if why := slow["Conv_d"]; (why != "") != (target.Name == "avx2") || slow["Conv_y"] != "" {
			t.Errorf("%s: %v", target.Name, slow)
		}
	}
	if _, err := FindTarget("mmx"); err == nil {
		t.Error("no error for an unknown target")
	}
}

// Labels that the model has no class for are no measure of accuracy.
func TestLabelsBeyondTheClasses(t *testing.T) {
	o := NewOutputs([]ir.Output{{Name: "classes"}})
	scores := tensor.FromSlice([]float32{0, 0, 1}, 1, 3)
	add := func(class int) {
		t.Helper()
		if err := o.Add([]*tensor.Tensor{scores}, []*tensor.Tensor{scores}, class, true); err != nil {
			t.Fatal(err)
		}
	}
	add(2)
	if model, _, ok := o.Accuracy(); !ok || model != 1 {
		t.Errorf("accuracy %g, %v: expected 1", model, ok)
	}
	add(3)
	if _, _, ok := o.Accuracy(); ok {
		t.Error("an accuracy with a class that the output does not have")
	}
	if err := (Bound{MaxDrop: .1}).measurable(o); err == nil || !strings.Contains(err.Error(), "1 samples have a class that the output does not have, such as 3") {
		t.Errorf("got %v", err)
	}
}
