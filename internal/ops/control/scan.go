package control

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	common := op.Attrs{"body": op.Required(ir.KindGraph), "num_scan_inputs": op.Required(ir.KindInt)}
	with := func(extra op.Attrs) op.Attrs {
		for k, v := range common {
			extra[k] = v
		}
		return extra
	}
	ints := op.Opt(ir.KindInts)
	op.Register(&op.Op{
		Name: "Scan", Versions: []int{8}, Doc: "runs a graph over the steps of sequences, for each sequence of a batch",
		In: op.Ports("sequence_lens:int64?", "initial_state_and_scan_inputs:V..."), Out: op.Ports("final_state_and_scan_outputs:V..."),
		Attrs: with(op.Attrs{"directions": ints}), Infer: scanBatchInfer, Ref: scanBatchRef,
	})
	op.Register(&op.Op{
		Name: "Scan", Versions: []int{9, 11, 16, 19, 21, 23, 24, 25}, Doc: "runs a graph over the slices of tensors along an axis",
		In: op.Ports("initial_state_and_scan_inputs:V..."), Out: op.Ports("final_state_and_scan_outputs:V..."),
		Attrs: with(op.Attrs{"scan_input_axes": ints, "scan_input_directions": ints, "scan_output_axes": ints, "scan_output_directions": ints}),
		Infer: scanInfer, Ref: scanRef,
	})
}

// scan is the signature of a Scan: n state variables, m scanned inputs and k
// scanned outputs, with the axis and direction of each of the latter.
type scan struct {
	body            *ir.Graph
	n, m, k         int
	inAxes, outAxes []int
	inBack, outBack []bool
}

// newScan checks a node with the given number of state and scan inputs.
func newScan(node *ir.Node, inputs int) (*scan, error) {
	g, err := body(node, "body")
	if err != nil {
		return nil, err
	}
	s := &scan{body: g, m: node.Int("num_scan_inputs")}
	s.n = inputs - s.m
	s.k = len(g.Outputs) - s.n
	if s.m < 1 || s.n < 0 || s.k < 0 || len(g.Inputs) != inputs || len(node.Out) > len(g.Outputs) {
		return nil, fmt.Errorf("%d inputs of which %d are scanned: the body has %d inputs and %d outputs", inputs, s.m, len(g.Inputs), len(g.Outputs))
	}
	dirs := "scan_input_directions"
	if node.Opset < 9 {
		dirs = "directions"
	}
	for _, list := range []struct {
		name string
		n    int
		set  func(i, v int)
	}{
		{"scan_input_axes", s.m, func(i, v int) { s.inAxes[i] = v }},
		{dirs, s.m, func(i, v int) { s.inBack[i] = v == 1 }},
		{"scan_output_axes", s.k, func(i, v int) { s.outAxes[i] = v }},
		{"scan_output_directions", s.k, func(i, v int) { s.outBack[i] = v == 1 }},
	} {
		s.inAxes, s.inBack = grow(s.inAxes, s.m), grow(s.inBack, s.m)
		s.outAxes, s.outBack = grow(s.outAxes, s.k), grow(s.outBack, s.k)
		v := node.Ints(list.name)
		if v != nil && len(v) != list.n {
			return nil, fmt.Errorf("%s: expected %d numbers, found %d", list.name, list.n, len(v))
		}
		for i, x := range v {
			list.set(i, x)
		}
	}
	return s, nil
}

func grow[T any](s []T, n int) []T {
	if s == nil {
		s = make([]T, n)
	}
	return s
}

func scanInfer(c *op.Infer) error {
	s, err := newScan(c.Node, len(c.In))
	if err != nil {
		return err
	}
	steps := shape.Unknown()
	items := make([]op.Fact, s.m)
	for i := range items {
		f := typeOnly(c.In[s.n+i])
		if f.Shape != nil {
			axis, err := op.Axis(s.inAxes[i], len(f.Shape))
			if err != nil {
				return fmt.Errorf("scan input %d: %w", i, err)
			}
			steps = f.Shape[axis]
			f.Shape = slices.Delete(slices.Clone(f.Shape), axis, axis+1)
		}
		items[i] = f
	}
	state := make([]op.Fact, s.n)
	for i := range state {
		state[i] = typeOnly(c.In[i])
	}
	fixed, out, err := fixpoint(state, 0, func(state []op.Fact) ([]op.Fact, error) {
		return c.Subgraph(s.body, slices.Concat(state, items))
	})
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	for i := range c.Out {
		if i < s.n {
			c.Out[i] = fixed[i]
			continue
		}
		f := typeOnly(out[i])
		if f.Shape != nil {
			axis, err := op.Axis(s.outAxes[i-s.n], len(f.Shape)+1)
			if err != nil {
				return fmt.Errorf("scan output %d: %w", i-s.n, err)
			}
			f.Shape = slices.Insert(slices.Clone(f.Shape), axis, steps)
		}
		c.Out[i] = f
	}
	return nil
}

func scanRef(c *op.Call) error {
	s, err := newScan(c.Node, len(c.In))
	if err != nil {
		return err
	}
	axes := make([]int, s.m)
	steps := 0
	for i := range axes {
		x := c.In[s.n+i]
		if axes[i], err = op.Axis(s.inAxes[i], x.Rank()); err != nil {
			return fmt.Errorf("scan input %d: %w", i, err)
		}
		if n := x.Shape[axes[i]]; i > 0 && n != steps {
			return fmt.Errorf("scan input %d has %d steps, expected %d as the first", i, n, steps)
		}
		steps = x.Shape[axes[i]]
	}
	state, scans, err := s.run(c, c.In[:s.n], steps, func(i, step int) *tensor.Tensor { return slice(c.In[s.n+i], axes[i], step) })
	if err != nil {
		return err
	}
	for i, t := range state {
		if t == c.In[i] {
			t = t.Clone()
		}
		c.Set(i, t)
	}
	for k, items := range scans {
		t, err := stack(items, s.outAxes[k], s.body.Outputs[s.n+k].Value.Type)
		if err != nil {
			return fmt.Errorf("scan output %d: %w", k, err)
		}
		c.Set(s.n+k, t)
	}
	return nil
}

// run runs the body for each step; item gives the slice of a scanned input. The
// outputs of the steps come in the order in which they are stacked.
func (s *scan) run(c *op.Call, state []*tensor.Tensor, steps int, item func(input, step int) *tensor.Tensor) ([]*tensor.Tensor, [][]*tensor.Tensor, error) {
	scans := make([][]*tensor.Tensor, s.k)
	var held gathered
	for step := range steps {
		if err := c.Context.Err(); err != nil {
			return nil, nil, err
		}
		in := slices.Clone(state)
		for i, back := range s.inBack {
			at := step
			if back {
				at = steps - 1 - step
			}
			in = append(in, item(i, at))
		}
		out, err := c.Subgraph(s.body, in)
		if err != nil {
			return nil, nil, fmt.Errorf("body, step %d: %w", step, err)
		}
		state = out[:s.n]
		if err := held.add(c, state, out[s.n:]); err != nil {
			return nil, nil, fmt.Errorf("step %d: %w", step, err)
		}
		for k := range scans {
			scans[k] = append(scans[k], out[s.n+k])
		}
	}
	for k, back := range s.outBack {
		if back {
			slices.Reverse(scans[k])
		}
	}
	return state, scans, nil
}

// slice gives x[…, i, …] along an axis, without the axis.
func slice(x *tensor.Tensor, axis, i int) *tensor.Tensor {
	dims := slices.Delete(slices.Clone(x.Shape), axis, axis+1)
	out := tensor.New(x.DType, dims...)
	strides := tensor.Strides(x.Shape)
	out.CopyStrided(x, i*strides[axis], slices.Delete(slices.Clone(strides), axis, axis+1))
	return out
}

// scanBatchInfer is scanInfer for version 8: every tensor has a batch in front,
// and scanned ones the sequence after it.
func scanBatchInfer(c *op.Infer) error {
	s, err := newScan(c.Node, len(c.In)-1)
	if err != nil {
		return err
	}
	batch, steps := shape.Unknown(), shape.Unknown()
	in := make([]op.Fact, s.n+s.m)
	for i := range in {
		f := typeOnly(c.In[1+i])
		drop := 1
		if i >= s.n {
			drop = 2
		}
		if f.Shape != nil && len(f.Shape) < drop {
			return fmt.Errorf("input %d has shape %v, expected at least %d dimensions", 1+i, f.Shape, drop)
		}
		if f.Shape != nil {
			batch = f.Shape[0]
			if drop == 2 {
				steps = f.Shape[1]
			}
			f.Shape = f.Shape[drop:]
		}
		in[i] = f
	}
	fixed, out, err := fixpoint(in[:s.n], 0, func(state []op.Fact) ([]op.Fact, error) {
		return c.Subgraph(s.body, slices.Concat(state, in[s.n:]))
	})
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	for i := range c.Out {
		lead, f := shape.Shape{batch, steps}, op.Fact{}
		if i < s.n {
			lead, f = lead[:1], fixed[i]
		} else {
			f = typeOnly(out[i])
		}
		if f.Shape != nil {
			f.Shape = slices.Concat(lead, f.Shape)
		}
		c.Out[i] = f
	}
	return nil
}

func scanBatchRef(c *op.Call) error {
	s, err := newScan(c.Node, len(c.In)-1)
	if err != nil {
		return err
	}
	in := c.In[1:]
	if in[s.n].Rank() < 2 {
		return fmt.Errorf("scan input 0 is %s, expected at least 2 dimensions, batch and sequence", in[s.n])
	}
	batch, longest := in[s.n].Shape[0], in[s.n].Shape[1]
	lens := slices.Repeat([]int{longest}, batch)
	if t := c.Input(0); t != nil {
		if lens, err = t.Ints(); err != nil || len(lens) != batch {
			return fmt.Errorf("sequence_lens: expected %d integers, found %s", batch, t)
		}
	}
	finals, scans := make([][]*tensor.Tensor, s.n), make([][]*tensor.Tensor, s.k)
	for b, steps := range lens {
		if steps < 0 || steps > longest {
			return fmt.Errorf("sequence_lens[%d] is %d, expected 0 to %d", b, steps, longest)
		}
		state := make([]*tensor.Tensor, s.n)
		for i := range state {
			state[i] = slice(in[i], 0, b)
		}
		state, outs, err := s.run(c, state, steps, func(i, step int) *tensor.Tensor { return slice(slice(in[s.n+i], 0, b), 0, step) })
		if err != nil {
			return fmt.Errorf("batch item %d: %w", b, err)
		}
		for i, t := range state {
			finals[i] = append(finals[i], t)
		}
		for k, items := range outs {
			t, err := stack(padded(items, longest), 0, s.body.Outputs[s.n+k].Value.Type)
			if err != nil {
				return fmt.Errorf("scan output %d: %w", k, err)
			}
			scans[k] = append(scans[k], t)
		}
	}
	for i, items := range slices.Concat(finals, scans) {
		t, err := stack(items, 0, s.body.Outputs[i].Value.Type)
		if err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
		c.Set(i, t)
	}
	return nil
}

// padded appends zeros up to n steps.
func padded(items []*tensor.Tensor, n int) []*tensor.Tensor {
	for len(items) > 0 && len(items) < n {
		items = append(items, tensor.New(items[0].DType, items[0].Shape...))
	}
	return items
}
