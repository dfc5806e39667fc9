package conformance

import (
	"math"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

func halves(v ...float32) *tensor.Tensor {
	t := tensor.New(dtype.Float16, len(v))
	for i, x := range v {
		tensor.Of[uint16](t)[i] = dtype.F32ToF16(x)
	}
	return t
}

func sequence(items ...*tensor.Tensor) *tensor.Tensor {
	return &tensor.Tensor{DType: dtype.Sequence, Shape: []int{len(items)}, Items: items}
}

func TestRules(t *testing.T) {
	f := func(v ...float32) *tensor.Tensor { return tensor.FromSlice(v) }
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	row := func(v ...float32) *tensor.Tensor { return tensor.FromSlice(v, 1, len(v)) }
	backend, golden, int8s, random := rule{kind: backendRule}, rule{kind: goldenRule}, rule{kind: int8Rule}, rule{kind: randomRule}
	many := func(scale float32) *tensor.Tensor {
		v := make([]float32, 400)
		for i := range v {
			v[i] = scale * float32(i%20)
		}
		return f(v...)
	}
	for _, c := range []struct {
		name      string
		rule      rule
		got, want *tensor.Tensor
		err       string // "" is a pass
	}{
		{"backend: within 1e-3 of the element", backend, f(1.0009, 1000.9), f(1, 1000), ""},
		{"backend: small elements have a limit of their own", backend, f(.0102, 1000), f(.01, 1000), "element 0: expected 0.009999999776482582"},
		{"backend: next to zero", backend, f(9e-8), f(0), ""},
		{"backend: integers are equal", backend, tensor.FromSlice([]int64{1, 3}), tensor.FromSlice([]int64{1, 2}), "element 1: expected 2, found 3"},
		{"NaN is NaN only", backend, f(nan, inf), f(nan, inf), ""},
		{"a number is no NaN", backend, f(1), f(nan), "expected NaN, found 1"},
		{"NaN is no number", golden, f(nan), f(1), "expected 1, found NaN"},
		{"infinities have a sign", golden, f(inf, 1), f(-inf, 1), "element 0"},
		{"infinities do not widen the limit", golden, f(inf, 1.1), f(inf, 1), "element 1"},
		{"golden: of the largest element", golden, f(.5, 1000), f(.1, 1000), ""},
		{"golden: beyond it", golden, f(1.2, 1000), f(.1, 1000), "off by 1.1, allowed 1"},
		{"golden: the peer's own difference counts four times", rule{kind: goldenRule, diff: .3}, f(2.1), f(1), ""},
		{"golden: 16 bits are compared at 1e-2", golden, halves(1, 1.009), halves(1, 1), ""},
		{"golden: so are models that compute with them", rule{kind: goldenRule, half: true}, f(1.009), f(1), ""},
		{"golden: the smallest step of a type", golden, halves(0x1p-24), halves(0x1p-23), ""},
		{"golden: integers are equal", golden, tensor.FromSlice([]uint8{3}), tensor.FromSlice([]uint8{4}), "element 0"},
		{"int8: one step", int8s, tensor.FromSlice([]uint8{3}), tensor.FromSlice([]uint8{4}), ""},
		{"int8: same label, near score", int8s, row(.1, .88, .02), row(.07, .9, .03), ""},
		{"int8: other label", int8s, row(.9, .1), row(.1, .9), "element 0"},
		{"random: other numbers of the same kind", random, many(1), many(1.01), ""},
		{"random: other deviation", random, many(1), many(2), "expected mean"},
		{"types differ", golden, f(1), tensor.FromSlice([]int32{1}), "expected int32[1], found float32[1]"},
		{"shapes differ", golden, f(1), row(1), "expected float32[1,1], found float32[1]"},
		{"shapes differ at random", random, f(1), row(1), "expected float32[1,1]"},
		{"strings", backend, tensor.FromStrings([]string{"a"}, 1), tensor.FromStrings([]string{"b"}, 1), `expected "b", found "a"`},
		{"sequences", backend, sequence(f(1), f(2)), sequence(f(1), f(3)), "item 1: element 0"},
		{"lengths of sequences", backend, sequence(f(1)), sequence(f(1), f(3)), "expected 2 items, found 1"},
		{"nothing", backend, nil, f(1), "found nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.rule.compare(c.got, c.want)
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, expected %q", err, c.err)
			}
		})
	}
}
