package optest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// hostileTries is the number of changed inputs per case.
const hostileTries = 80

// Hostile feeds the operators that are linked into the test binary with changed
// inputs and attributes of their cases: other shapes, absurd numbers. Nothing may
// panic, and what is computed has the inferred shape.
func Hostile(t *testing.T) {
	for _, o := range op.All() {
		if o.Cases == nil || o.Random {
			continue
		}
		t.Run(fmt.Sprintf("%s-%d", o.Name, o.Versions[0]), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, c := range o.Cases() {
				for range hostileTries {
					attempt(t, o, changed(r, c))
				}
			}
		})
	}
}

// changed is a copy of a case with some inputs and attributes replaced.
func changed(r *rand.Rand, c op.Case) op.Case {
	in := make([]*tensor.Tensor, len(c.In))
	for i, t := range c.In {
		in[i] = t
		if t != nil && r.IntN(3) > 0 {
			in[i] = changedTensor(r, t)
		}
	}
	attrs := map[string]ir.Attr{}
	for k, a := range c.Attrs {
		if r.IntN(3) == 0 {
			switch a.Kind {
			case ir.KindInt:
				a.Int = int64(r.IntN(9) - 4)
			case ir.KindInts:
				a.Ints = make([]int64, r.IntN(5))
				for i := range a.Ints {
					a.Ints[i] = int64(r.IntN(7) - 3)
				}
			case ir.KindFloat:
				a.Float = float32(r.IntN(7) - 3)
			}
		}
		attrs[k] = a
	}
	c.In, c.Attrs = in, attrs
	return c
}

func changedTensor(r *rand.Rand, t *tensor.Tensor) *tensor.Tensor {
	if t.DType == dtype.Sequence || t.DType == dtype.Optional {
		return tensor.New(t.DType)
	}
	dims := append([]int{}, t.Shape...)
	switch kind := r.IntN(5); {
	case kind == 0:
		for i := range dims {
			if r.IntN(3) == 0 {
				dims[i] = r.IntN(5)
			}
		}
	case kind == 1 && len(dims) > 0:
		dims = dims[1:]
	case kind == 2:
		dims = append(dims, r.IntN(4))
	}
	m := tensor.New(t.DType, dims...)
	for i := range m.Len() {
		if t.Len() > 0 {
			m.CopyElements(i, t, i%t.Len(), 1)
		}
	}
	if r.IntN(2) == 0 {
		scribble(r, m)
	}
	return m
}

func scribble(r *rand.Rand, t *tensor.Tensor) {
	switch t.DType {
	case dtype.Int64:
		odd := []int64{0, 1, -1, 2, -2, 3, 5, -7, 1 << 40, -1 << 63, 1<<63 - 1}
		for i := range tensor.Of[int64](t) {
			tensor.Of[int64](t)[i] = odd[r.IntN(len(odd))]
		}
	case dtype.Float32:
		for i := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = []float32{0, 1, -1, 2.5, 1e30, float32(r.NormFloat64())}[r.IntN(6)]
		}
	}
}

// attempt runs one case as far as it goes: refusing it is fine.
func attempt(t *testing.T, o *op.Op, c op.Case) {
	r := &run{T: t, o: o, c: c}
	r.node = r.newNode(c.In)
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("%v with attributes %v panics: %v", describe(c.In), c.Attrs, p)
		}
	}()
	if op.Complete(r.node) != nil {
		return
	}
	inf := &op.Infer{Node: r.node, In: r.facts(0, false), Out: make([]op.Fact, len(r.node.Out))}
	if o.Infer(inf) != nil {
		return
	}
	out, err := reference(o, r.node, c.In)
	if err == nil {
		for i, f := range inf.Out {
			if i < len(out) && out[i] != nil {
				if err := agrees(f, out[i], false); err != nil {
					t.Errorf("%v: output %d: %v", describe(c.In), i, err)
				}
			}
		}
	}
	r.runKernel(inf)
}

// runKernel runs the fast kernel, if all shapes are known.
func (r *run) runKernel(inf *op.Infer) {
	if r.o.Compile == nil {
		return
	}
	for _, f := range inf.Out {
		if _, known := f.Shape.Ints(); !known {
			return
		}
	}
	k, err := r.o.Compile(&op.Prep{Node: r.node, In: inf.In, Out: inf.Out, Threads: 1, Pack: pack})
	if k == nil || err != nil {
		return
	}
	call := &op.Call{Context: context.Background(), Node: r.node, In: r.c.In}
	if s, ok := k.(op.Scratcher); ok {
		call.Scratch = tensor.Bytes(s.ScratchBytes())
	}
	_ = k.Run(call) // an error is fine
}

func describe(in []*tensor.Tensor) (s []string) {
	for _, t := range in {
		text := t.String()
		if t != nil && t.DType == dtype.Int64 && t.Len() < 8 {
			text += fmt.Sprint(tensor.Of[int64](t))
		}
		s = append(s, text)
	}
	return s
}
