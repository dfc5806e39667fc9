package random_test

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops/random"
	"github.com/salver-ml/salver/internal/tensor"
)

func draw(t *testing.T, name string, attrs map[string]*ir.Attr, in ...*tensor.Tensor) *tensor.Tensor {
	t.Helper()
	vals := make([]*ir.Value, len(in))
	for i, x := range in {
		vals[i] = ir.NewConst("", x)
	}
	n := ir.NewNode("", name, 22, vals, []*ir.Value{ir.NewValue("y", ir.Type{})}, attrs)
	if err := op.Complete(n); err != nil {
		t.Fatal(err)
	}
	c := &op.Call{Context: context.Background(), Node: n, In: in}
	if err := op.Of(n).Ref(c); err != nil {
		t.Fatal(err)
	}
	return c.Out[0]
}

func moments(v []float32) (mean, deviation float64) {
	for _, x := range v {
		mean += float64(x) / float64(len(v))
	}
	for _, x := range v {
		deviation += (float64(x) - mean) * (float64(x) - mean) / float64(len(v))
	}
	return mean, math.Sqrt(deviation)
}

func TestDistributions(t *testing.T) {
	size := ir.Ints(20000)
	for _, c := range []struct {
		name            string
		attrs           map[string]*ir.Attr
		mean, deviation float64
	}{
		{"RandomNormal", map[string]*ir.Attr{"shape": size, "seed": ir.Float(1), "mean": ir.Float(3), "scale": ir.Float(2)}, 3, 2},
		{"RandomUniform", map[string]*ir.Attr{"shape": size, "seed": ir.Float(1), "low": ir.Float(-1), "high": ir.Float(5)}, 2, 6 / math.Sqrt(12)},
	} {
		mean, deviation := moments(tensor.Of[float32](draw(t, c.name, c.attrs)))
		if math.Abs(mean-c.mean) > 0.05 || math.Abs(deviation-c.deviation) > 0.05 {
			t.Errorf("%s: mean %v and deviation %v, expected %v and %v", c.name, mean, deviation, c.mean, c.deviation)
		}
	}
}

func TestSeeds(t *testing.T) {
	size := ir.Ints(100)
	seeded := map[string]*ir.Attr{"shape": size, "seed": ir.Float(7)}
	if a, b := draw(t, "RandomNormal", seeded), draw(t, "RandomNormal", seeded); !bytes.Equal(a.Data, b.Data) {
		t.Error("the same seed gives different numbers")
	}
	free := map[string]*ir.Attr{"shape": size}
	if a, b := draw(t, "RandomNormal", free), draw(t, "RandomNormal", free); bytes.Equal(a.Data, b.Data) {
		t.Error("two runs without a seed give the same numbers")
	}
}

func TestChoices(t *testing.T) {
	p := tensor.New(dtype.Float32, 10000)
	for i := range tensor.Of[float32](p) {
		tensor.Of[float32](p)[i] = 0.25
	}
	if mean, _ := moments(tensor.Of[float32](draw(t, "Bernoulli", map[string]*ir.Attr{"seed": ir.Float(1)}, p))); math.Abs(mean-0.25) > 0.02 {
		t.Errorf("Bernoulli(0.25): mean %v", mean)
	}
	logits := tensor.FromSlice([]float32{0, float32(math.Log(3)), float32(math.Inf(-1))}, 1, 3)
	got := draw(t, "Multinomial", map[string]*ir.Attr{"sample_size": ir.Int(10000), "seed": ir.Float(1)}, logits)
	var counts [3]int
	for _, class := range tensor.Of[int32](got) {
		counts[class]++
	}
	if math.Abs(float64(counts[1])/10000-0.75) > 0.02 || counts[2] != 0 {
		t.Errorf("Multinomial of weights 1, 3 and 0: found counts %v of 10000", counts)
	}
}
