package ml

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: domain, Name: "Scaler", Versions: []int{1}, Doc: "(X - offset)·scale, one number each for all features or one for each",
		In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": features}, Attrs: op.Attrs{"offset": op.Opt(ir.KindFloats), "scale": op.Opt(ir.KindFloats)},
		Infer: inferScores, Ref: scalerRef, Rows: rowsMatrix,
		Cases: scalerCases{},
	})
	op.Register(&op.Op{
		Domain: domain, Name: "Normalizer", Versions: []int{1}, Doc: "each row divided by its largest element, its sum of magnitudes, or its length",
		In: op.Ports("X:T"), Out: op.Ports("Y:float32"), Types: op.Types{"T": features}, Attrs: op.Attrs{"norm": op.Default(ir.Str("MAX"))},
		Infer: inferScores, Ref: normalizerRef, Rows: rowsMatrix,
		Cases: normalizerCases{},
	})
	op.Register(&op.Op{
		Domain: domain, Name: "Imputer", Versions: []int{1}, Doc: "replaces one value, or NaN",
		In: op.Ports("X:T"), Out: op.Ports("Y:T"), Types: op.Types{"T": features},
		Attrs: op.Attrs{"imputed_value_floats": op.Opt(ir.KindFloats), "imputed_value_int64s": op.Opt(ir.KindInts), "replaced_value_float": op.Default(ir.Float(0)), "replaced_value_int64": op.Default(ir.Int(0))},
		Infer: op.SameAsInput, Ref: imputerRef, Rows: rowsMatrix,
		Cases: imputerCases{},
	})
}

type scalerCases struct{}

func (scalerCases) Cases() []op.Case {
	return []op.Case{{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]int64{1, 2, 3, 4}, 2, 2)}, Attrs: map[string]*ir.Attr{"offset": ir.Floats(1, 2), "scale": ir.Floats(.5)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{0, 0, 1, 1}, 2, 2)}}}
}

type normalizerCases struct{}

func (normalizerCases) Cases() []op.Case {
	norm := func(name string, out ...float32) op.Case {
		return op.Case{Name: name, In: []*tensor.Tensor{tensor.FromSlice([]float32{3, -4, 0, 0}, 2, 2)}, Attrs: map[string]*ir.Attr{"norm": ir.Str(name)}, Out: []*tensor.Tensor{tensor.FromSlice(out, 2, 2)}}
	}
	return []op.Case{norm("MAX", 1, -1.3333334, 0, 0), norm("L1", .42857143, -.5714286, 0, 0), norm("L2", .6, -.8, 0, 0)}
}

type imputerCases struct{}

func (imputerCases) Cases() []op.Case {
	nan := float32(math.NaN())
	return []op.Case{{Name: "NaN", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, nan, nan, 4}, 2, 2)}, Attrs: map[string]*ir.Attr{"imputed_value_floats": ir.Floats(7, 8), "replaced_value_float": ir.Float(nan)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{1, 8, 7, 4}, 2, 2)}}}
}

// inferScores is the inference of elementwise functions with float32 results.
func inferScores(c *op.Infer) error {
	c.Set(0, scoreType, c.In[0].Shape)
	return nil
}

// perFeature checks that a list has one element, or one for each feature.
func perFeature(name string, list, width int) error {
	if list != 1 && list != width {
		return fmt.Errorf("%s has %d elements, expected 1 or %d", name, list, width)
	}
	return nil
}

// width is the size of the last dimension.
func width(x *tensor.Tensor) int {
	if len(x.Shape) == 0 {
		return 1
	}
	return x.Shape[len(x.Shape)-1]
}

func scalerRef(c *op.Call) error {
	x := c.In[0]
	w := width(x)
	offset, scale := c.Node.Floats("offset"), c.Node.Floats("scale")
	if len(offset) == 0 {
		offset = []float32{0}
	}
	if len(scale) == 0 {
		scale = []float32{1}
	}
	if err := perFeature("offset", len(offset), w); err != nil {
		return err
	}
	if err := perFeature("scale", len(scale), w); err != nil {
		return err
	}
	v := num.Floats(x)
	for i := range v {
		v[i] = (v[i] - float64(offset[i%w%len(offset)])) * float64(scale[i%w%len(scale)])
	}
	num.SetFloats(c.Output(0, scoreType, x.Shape...), v)
	return nil
}

func normalizerRef(c *op.Call) error {
	x := c.In[0]
	measures := map[string]func([]float64) float64{
		"MAX": func(row []float64) float64 {
			m := math.Inf(-1)
			for _, v := range row {
				m = max(m, v)
			}
			return m
		},
		"L1": func(row []float64) (s float64) {
			for _, v := range row {
				s += math.Abs(v)
			}
			return s
		},
		"L2": func(row []float64) (s float64) {
			for _, v := range row {
				s += v * v
			}
			return math.Sqrt(s)
		},
	}
	measure, ok := measures[c.Node.Str("norm")]
	if !ok {
		return fmt.Errorf("norm %q is unknown, expected MAX, L1 or L2", c.Node.Str("norm"))
	}
	v, w := num.Floats(x), max(width(x), 1)
	for at := 0; at < len(v); at += w {
		row := v[at : at+w]
		by := measure(row)
		for i := range row {
			if by != 0 {
				row[i] /= by
			}
		}
	}
	num.SetFloats(c.Output(0, scoreType, x.Shape...), v)
	return nil
}

func imputerRef(c *op.Call) error {
	x := c.In[0]
	w := width(x)
	if x.DType.IsInt() {
		v, by, old := num.Int64s(x), c.Node.Ints("imputed_value_int64s"), int64(c.Node.Int("replaced_value_int64"))
		if err := perFeature("imputed_value_int64s", len(by), w); err != nil {
			return err
		}
		for i, a := range v {
			if a == old {
				v[i] = int64(by[i%w%len(by)])
			}
		}
		num.SetInt64s(c.Output(0, x.DType, x.Shape...), v)
		return nil
	}
	v, by, old := num.Floats(x), c.Node.Floats("imputed_value_floats"), float64(c.Node.Float("replaced_value_float"))
	if err := perFeature("imputed_value_floats", len(by), w); err != nil {
		return err
	}
	for i, a := range v {
		if a == old || math.IsNaN(a) && math.IsNaN(old) {
			v[i] = float64(by[i%w%len(by)])
		}
	}
	num.SetFloats(c.Output(0, x.DType, x.Shape...), v)
	return nil
}
