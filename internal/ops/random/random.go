// Package random registers operators that draw random numbers. With the
// attribute seed a node draws the same numbers in every run, else different ones.
package random

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	versions := []int{1, 22}
	type draw struct {
		name  string
		attrs [2]string
		def   [2]float32
		next  func(r *rand.Rand, a, b float64) float64
	}
	for _, d := range []draw{
		{"RandomNormal", [2]string{"mean", "scale"}, [2]float32{0, 1}, func(r *rand.Rand, mean, scale float64) float64 { return mean + scale*r.NormFloat64() }},
		{"RandomUniform", [2]string{"low", "high"}, [2]float32{0, 1}, func(r *rand.Rand, low, high float64) float64 { return low + (high-low)*r.Float64() }},
	} {
		attrs := func() op.Attrs {
			return op.Attrs{"seed": op.Opt(ir.KindFloat), d.attrs[0]: op.Default(ir.Float(d.def[0])), d.attrs[1]: op.Default(ir.Float(d.def[1]))}
		}
		fill := func(c *op.Call, out *tensor.Tensor) {
			r := source(c.Node)
			a, b := float64(c.Node.Float(d.attrs[0])), float64(c.Node.Float(d.attrs[1]))
			v := make([]float64, out.Len())
			for i := range v {
				v[i] = d.next(r, a, b)
			}
			num.SetFloats(out, v)
		}
		own := attrs()
		own["dtype"], own["shape"] = op.Default(ir.Int(int(dtype.Float32))), op.Required(ir.KindInts)
		op.Register(&op.Op{
			Name: d.name, Versions: versions, Doc: "random numbers in the given shape",
			Out: op.Ports("output:T"), Types: op.Types{"T": op.Floats}, Attrs: own, Random: true,
			Infer: func(c *op.Infer) error {
				dt, err := floatType(c.Node, dtype.Invalid)
				if err == nil {
					err = tensor.CheckSize(c.Node.Ints("shape"))
				}
				c.Set(0, dt, shape.Of(c.Node.Ints("shape")...))
				return err
			},
			Ref: func(c *op.Call) error {
				dt, err := floatType(c.Node, dtype.Invalid)
				if err == nil {
					fill(c, c.Output(0, dt, c.Node.Ints("shape")...))
				}
				return err
			},
		})
		like := attrs()
		like["dtype"] = op.Opt(ir.KindInt)
		op.Register(&op.Op{
			Name: d.name + "Like", Versions: versions, Doc: "random numbers in the shape of the input",
			In: op.Ports("input:T1"), Out: op.Ports("output:T2"), Types: op.Types{"T1": op.AllTensors, "T2": op.Floats}, Attrs: like, Random: true,
			Infer: func(c *op.Infer) error {
				dt, err := floatType(c.Node, c.In[0].DType)
				c.Set(0, dt, c.In[0].Shape)
				return err
			},
			Ref: func(c *op.Call) error {
				dt, err := floatType(c.Node, c.In[0].DType)
				if err == nil {
					fill(c, c.Output(0, dt, c.In[0].Shape...))
				}
				return err
			},
		})
	}
	registerChoices(versions)
}

// source makes the generator of a node.
func source(n *ir.Node) *rand.Rand {
	if n.Has("seed") {
		return rand.New(rand.NewPCG(uint64(math.Float32bits(n.Float("seed"))), 0x9e3779b97f4a7c15))
	}
	return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
}

// floatType is the element type that the attribute dtype asks for, by default like.
func floatType(n *ir.Node, like dtype.Type) (dtype.Type, error) {
	if n.Has("dtype") {
		like = n.DType("dtype")
	}
	if !slices.Contains(op.Floats, like) && (like != dtype.Invalid || n.Has("dtype")) {
		return like, fmt.Errorf("dtype: expected a floating-point type, found %s", like)
	}
	return like, nil
}

func registerChoices(versions []int) {
	op.Register(&op.Op{
		Name: "Bernoulli", Versions: []int{15, 22}, Doc: "1 with the probability that the input gives, else 0",
		In: op.Ports("input:T1"), Out: op.Ports("output:T2"), Types: op.Types{"T1": op.Floats, "T2": op.NumBool},
		Attrs: op.Attrs{"dtype": op.Opt(ir.KindInt), "seed": op.Opt(ir.KindFloat)}, Random: true,
		Infer: func(c *op.Infer) error {
			dt, err := bernoulliType(c.Node, c.In[0].DType)
			c.Set(0, dt, c.In[0].Shape)
			return err
		},
		Ref: bernoulliRef,
	})
	op.Register(&op.Op{
		Name: "Multinomial", Versions: []int{7, 22}, Doc: "draws classes by their unnormalized log probabilities",
		In: op.Ports("input:T1"), Out: op.Ports("output:T2"), Types: op.Types{"T1": op.Floats, "T2": op.Indices},
		Attrs: op.Attrs{"dtype": op.Default(ir.Int(int(dtype.Int32))), "sample_size": op.Default(ir.Int(1)), "seed": op.Opt(ir.KindFloat)}, Random: true,
		Infer: multinomialInfer, Ref: multinomialRef,
	})
}

func bernoulliType(n *ir.Node, like dtype.Type) (dtype.Type, error) {
	if n.Has("dtype") {
		like = n.DType("dtype")
	}
	if !slices.Contains(op.NumBool, like) && (like != dtype.Invalid || n.Has("dtype")) {
		return like, fmt.Errorf("dtype: expected a numeric type or bool, found %s", like)
	}
	return like, nil
}

func bernoulliRef(c *op.Call) error {
	x := c.In[0]
	dt, err := bernoulliType(c.Node, x.DType)
	if err != nil {
		return err
	}
	r := source(c.Node)
	v := num.Floats(x)
	for i, p := range v {
		v[i] = 0
		if r.Float64() < p {
			v[i] = 1
		}
	}
	num.SetFloats(c.Output(0, dt, x.Shape...), v)
	return nil
}

func multinomialInfer(c *op.Infer) error {
	dt, samples := c.Node.DType("dtype"), c.Node.Int("sample_size")
	s := c.In[0].Shape
	if !slices.Contains(op.Indices, dt) || samples < 0 || s != nil && len(s) != 2 {
		return fmt.Errorf("dtype %s, sample_size %d, input %v: expected int32 or int64, at least 0, and [batch, classes]", dt, samples, s)
	}
	batch := shape.Unknown()
	if s != nil {
		batch = s[0]
	}
	c.Set(0, dt, shape.Shape{batch, shape.Const(samples)})
	return nil
}

func multinomialRef(c *op.Call) error {
	x := c.In[0]
	if x.Rank() != 2 || x.Shape[1] == 0 {
		return fmt.Errorf("input is %s, expected [batch, classes] with at least one class", x)
	}
	samples, classes := c.Node.Int("sample_size"), x.Shape[1]
	r, v := source(c.Node), num.Floats(x)
	out := make([]int64, 0, x.Shape[0]*samples)
	for b := range x.Shape[0] {
		weights := v[b*classes:][:classes]
		top, total := slices.Max(weights), 0.
		for i, w := range weights {
			total += math.Exp(w - top)
			weights[i] = total
		}
		for range samples {
			class, _ := slices.BinarySearch(weights, r.Float64()*total)
			out = append(out, int64(min(class, classes-1)))
		}
	}
	num.SetInt64s(c.Output(0, c.Node.DType("dtype"), x.Shape[0], samples), out)
	return nil
}
