package control

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Name: "Loop", Versions: []int{1, 11, 13, 16, 19, 21, 23, 24, 25}, Doc: "runs a graph a number of times or while a condition holds",
		In: op.Ports("M:int64?", "cond:bool?", "v_initial:V...?"), Out: op.Ports("v_final_and_scan_outputs:V..."),
		Attrs: op.Attrs{"body": op.Required(ir.KindGraph)},
		Infer: loopInfer, Ref: loopRef,
	})
}

// carried is the number of loop-carried values: the inputs after M and cond.
func carried(inputs int) int { return max(inputs-2, 0) }

// loopBody checks the body's signature.
func loopBody(n *ir.Node) (*ir.Graph, int, error) {
	g, err := body(n, "body")
	if err != nil {
		return nil, 0, err
	}
	state := carried(len(n.In))
	if len(g.Inputs) != 2+state || len(g.Outputs) < 1+state || len(n.Out) > len(g.Outputs)-1 {
		return nil, 0, fmt.Errorf("the body has %d inputs and %d outputs, expected %d (iteration, condition and %d carried values) and %d",
			len(g.Inputs), len(g.Outputs), 2+state, state, 1+len(n.Out))
	}
	return g, state, nil
}

// scalarLike is the shape of the iteration number or the condition: a scalar,
// unless the body declares a vector of one.
func scalarLike(v *ir.Value) []int {
	if len(v.Type.Shape) == 1 {
		return []int{1}
	}
	return []int{}
}

func loopInfer(c *op.Infer) error {
	g, n, err := loopBody(c.Node)
	if err != nil {
		return err
	}
	state := make([]op.Fact, n)
	for i := range state {
		state[i] = typeOnly(c.In[2+i])
	}
	iteration := op.Fact{Type: ir.Type{DType: dtype.Int64, Shape: shape.Of(scalarLike(g.Inputs[0])...)}, Present: true}
	always := alwaysTrue(c.Input(1))
	cond := op.Fact{Type: ir.Type{DType: dtype.Bool, Shape: shape.Of(scalarLike(g.Inputs[1])...)}, Present: true}
	if always {
		cond.Const = tensor.New(dtype.Bool, scalarLike(g.Inputs[1])...)
		tensor.Of[bool](cond.Const)[0] = true
	}
	fixed, out, err := fixpoint(state, 1, func(s []op.Fact) ([]op.Fact, error) {
		return c.Subgraph(g, slices.Concat([]op.Fact{iteration, cond}, s))
	})
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	trips := shape.Unknown()
	if f := c.Input(0); f.Present && always && isTrue(out[0]) {
		if m, ok := f.Ints(); ok && len(m) == 1 {
			trips = shape.Const(max(m[0], 0))
		}
	}
	for i := range c.Out {
		if i < n {
			c.Out[i] = fixed[i]
			if fixed[i].DType == dtype.Optional { // the body may give what is in it
				c.Out[i] = typeOnly(out[1+i])
			}
			continue
		}
		f := typeOnly(out[1+i])
		if f.Shape != nil {
			f.Shape = append(shape.Shape{trips}, f.Shape...)
		}
		c.Out[i] = f
	}
	return nil
}

func alwaysTrue(cond op.Fact) bool { return !cond.Present || isTrue(cond) }

func isTrue(f op.Fact) bool {
	return f.Const != nil && f.Const.Len() == 1 && tensor.Of[bool](f.Const)[0]
}

func loopRef(c *op.Call) error {
	g, n, err := loopBody(c.Node)
	if err != nil {
		return err
	}
	trips, running, err := loopStart(c)
	if err != nil {
		return err
	}
	state := slices.Clone(c.In[min(2, len(c.In)):])
	scans := make([][]*tensor.Tensor, len(g.Outputs)-1-n)
	var held gathered
	for i := 0; running && (trips < 0 || i < trips); i++ {
		if err := c.Context.Err(); err != nil {
			return err
		}
		iteration, cond := tensor.New(dtype.Int64, scalarLike(g.Inputs[0])...), tensor.New(dtype.Bool, scalarLike(g.Inputs[1])...)
		tensor.Of[int64](iteration)[0], tensor.Of[bool](cond)[0] = int64(i), true
		out, err := c.Subgraph(g, slices.Concat([]*tensor.Tensor{iteration, cond}, asOptionals(state, g.Inputs[2:])))
		if err != nil {
			return fmt.Errorf("body, iteration %d: %w", i, err)
		}
		if out[0].DType != dtype.Bool || out[0].Len() != 1 {
			return fmt.Errorf("body, iteration %d: condition: expected one bool, found %s", i, out[0])
		}
		running = tensor.Of[bool](out[0])[0]
		state = out[1 : 1+n]
		if err := held.add(c, state, out[1+n:]); err != nil {
			return fmt.Errorf("iteration %d: %w", i, err)
		}
		for k := range scans {
			scans[k] = append(scans[k], out[1+n+k])
		}
	}
	for i, t := range state {
		if t == c.In[2+i] { // no iteration: the input's memory is not the output's
			t = t.Clone()
		}
		c.Set(i, t)
	}
	for k, items := range scans {
		t, err := stack(items, 0, g.Outputs[1+n+k].Value.Type)
		if err != nil {
			return fmt.Errorf("scan output %d: %w", k, err)
		}
		c.Set(n+k, t)
	}
	return nil
}

// loopStart reads the number of trips, -1 if unbounded, and the first condition.
func loopStart(c *op.Call) (trips int, running bool, err error) {
	trips, running = -1, true
	if m := c.Input(0); m != nil {
		v, err := m.Ints()
		if err != nil || len(v) != 1 {
			return 0, false, fmt.Errorf("M: expected one integer, found %s", m)
		}
		trips = max(v[0], 0)
	}
	if cond := c.Input(1); cond != nil {
		if cond.Len() != 1 {
			return 0, false, fmt.Errorf("cond: expected one bool, found %s", cond)
		}
		running = tensor.Of[bool](cond)[0]
	}
	return trips, running, nil
}

// asOptionals wraps the values for body inputs that are optionals.
func asOptionals(state []*tensor.Tensor, inputs []*ir.Value) []*tensor.Tensor {
	out := slices.Clone(state)
	for i, t := range out {
		if inputs[i].Type.DType == dtype.Optional && t.DType != dtype.Optional {
			out[i] = tensor.New(dtype.Optional)
			out[i].Items = []*tensor.Tensor{t}
		}
	}
	return out
}
