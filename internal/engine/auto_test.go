package engine

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// images are samples for the digit network.
func images(*ir.Graph) ([][]*tensor.Tensor, error) {
	x := make([]float32, 2*28*28)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	return [][]*tensor.Tensor{{tensor.FromSlice(x, 2, 1, 28, 28)}}, nil
}

func TestAutoStaysWithinTheBound(t *testing.T) {
	for _, bound := range []float64{1e-12, .5} {
		var told *Choice
		e, err := Parse(demo.Models()[0].ONNX, Options{Level: 3, Auto: &Auto{MaxError: bound, Samples: images, Report: func(c *Choice) { told = c }}})
		if err != nil {
			t.Fatal(err)
		}
		c := e.Choice
		if c != told || c.Samples != 1 || len(c.Candidates) != len(precisions) || c.Chosen != e.Precision().String() {
			t.Errorf("%+v", c)
		}
		for _, x := range c.Candidates {
			if x.Precision == c.Chosen && x.Error > bound {
				t.Errorf("bound %v: chose %+v", bound, x)
			}
		}
		if op.BF16.Available() == nil && !(c.Candidates[1].Error > 0 && c.Candidates[1].Error < .1) {
			t.Errorf("bf16 deviates by %v", c.Candidates[1].Error)
		}
		if bound < 1e-6 && c.Chosen != "fp32" || !strings.Contains(c.String(), "precision auto: "+c.Chosen) {
			t.Error(c)
		}
		e.Close()
	}
}

func TestAutoWithoutTheUnit(t *testing.T) {
	defer cpu.Force(cpu.Generic)()
	e, err := Parse(demo.Models()[1].ONNX, Options{Level: 3, Auto: &Auto{MaxError: .5, Samples: func(*ir.Graph) ([][]*tensor.Tensor, error) {
		return [][]*tensor.Tensor{{tensor.FromSlice([]float32{5, 3, 1, .2}, 1, 4)}}, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if c := e.Choice; c.Chosen != "fp32" || !strings.Contains(c.String(), "AMX") {
		t.Error(c)
	}
}

// A mask of zeros, say, makes all answers zero, in any precision.
func TestAutoKeepsFP32WhereSamplesTellNothing(t *testing.T) {
	if op.BF16.Available() != nil {
		t.Skip("there is no second precision")
	}
	g, err := ir.Parse("graph \"masked\" {\n input %x float32[n,64]\n input %m float32[n,1]\n %y = MatMul(%x, %x) {}\n %z = Mul(%y, %m)\n output %z\n}", 17)
	if err != nil {
		t.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (&onnx.Model{Graph: g, IRVersion: 8}).Write(&b); err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 64*64)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	for _, mask := range []float32{0, float32(math.NaN()), 1} {
		m := slices.Repeat([]float32{mask}, 64)
		e, err := Parse(b.Bytes(), Options{Level: 3, Auto: &Auto{MaxError: .5, Samples: func(*ir.Graph) ([][]*tensor.Tensor, error) {
			return [][]*tensor.Tensor{{tensor.FromSlice(x, 64, 64), tensor.FromSlice(m, 64, 1)}}, nil
		}}})
		if err != nil {
			t.Fatal(err)
		}
		bf16 := e.Choice.Candidates[1]
		if told := bf16.Refused == ""; told != (mask == 1) || !told && e.Choice.Chosen != "fp32" || told && !(bf16.Error > 0) {
			t.Errorf("mask %v: %+v", mask, e.Choice)
		}
		e.Close()
	}
}

func half(v ...float32) *tensor.Tensor {
	t := tensor.New(dtype.Float16, len(v))
	for i, x := range v {
		tensor.Of[uint16](t)[i] = dtype.F32ToF16(x)
	}
	return t
}

func TestDeviation(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	f := func(v ...float32) *tensor.Tensor { return tensor.FromSlice(v, len(v)) }
	for _, c := range []struct {
		got, want *tensor.Tensor
		d         float64
	}{
		{f(1, 2), f(1, 2), 0}, {f(1, 3), f(1, 4), .25}, {f(nan), f(nan), 0}, {f(nan, 1), f(1, 1), math.Inf(1)}, {f(inf, 3), f(inf, 4), .25}, {f(1), f(1, 1), math.Inf(1)},
		{f(0), f(0), 0}, {f(1), f(0), math.Inf(1)},
		{tensor.FromSlice([]float64{1, 3}, 2), tensor.FromSlice([]float64{1, 4}, 2), .25}, {tensor.FromSlice([]float64{1}, 1), f(1), math.Inf(1)},
		{half(1, 3), half(1, 4), .25},
		{tensor.FromSlice([]int64{3}, 1), tensor.FromSlice([]int64{3}, 1), 0}, {tensor.FromSlice([]int64{3}, 1), tensor.FromSlice([]int64{4}, 1), math.Inf(1)},
	} {
		if d := apart(c.got, c.want); d != c.d {
			t.Errorf("%v and %v are %v apart, expected %v", c.got, c.want, d, c.d)
		}
	}
}
