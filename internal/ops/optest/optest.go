// Package optest tests every registered operator on its own cases: schema,
// inference, reference, fast kernels at every instruction-set level and thread
// count, and the row rule.
package optest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Run tests the operators of the family whose test it is called from, and all of
// them where that is the package ops, which links them all.
func Run(t *testing.T) {
	family := caller()
	all := strings.HasSuffix(family, "/ops")
	pools := []*pool.Pool{nil, pool.New(3)}
	t.Cleanup(pools[1].Close)
	for _, o := range op.All() {
		if !all && o.Cases != nil && elsewhere(o, family) {
			continue
		}
		name := o.Name
		if o.Domain != "" {
			name = o.Domain + "::" + name
		}
		t.Run(fmt.Sprintf("%s-%d", name, o.Versions[0]), func(t *testing.T) {
			if o.Cases == nil {
				t.Skip("has no cases of its own")
			}
			for _, c := range o.Cases.Cases() {
				t.Run(c.Name, func(t *testing.T) { (&run{T: t, o: o, c: c, pools: pools}).all() })
				if half, ok := halved(o, c); ok {
					t.Run(c.Name+" in float16", func(t *testing.T) { (&run{T: t, o: o, c: half, pools: pools}).allHalf() })
				}
			}
		})
	}
}

type run struct {
	*testing.T
	o         *op.Op
	c         op.Case
	pools     []*pool.Pool
	node      *ir.Node
	out       []*tensor.Tensor // of the reference
	precision op.Precision     // of the kernel under test
}

// allHalf skips the operators whose attributes or other inputs fix the type.
func (r *run) allHalf() {
	r.node = r.newNode(r.c.In)
	if err := op.Complete(r.node); err != nil {
		r.Skip(err)
	}
	if _, err := reference(r.o, r.node, r.c.In); err != nil {
		r.Skip(err)
	}
	r.all()
}

func (r *run) all() {
	r.node = r.newNode(r.c.In)
	if err := op.Complete(r.node); err != nil {
		r.Fatal(err)
	}
	out, err := reference(r.o, r.node, r.c.In)
	if err != nil {
		r.Fatal(err)
	}
	r.out = out
	r.checkExpected()
	r.checkInference()
	if r.o.Random {
		return
	}
	r.checkKernels()
	r.checkRows()
}

// newNode makes a node whose inputs are graph inputs of the tensors' types and
// that wants all outputs.
func (r *run) newNode(in []*tensor.Tensor) *ir.Node {
	vals := make([]*ir.Value, len(in))
	for i, t := range in {
		if t != nil {
			vals[i] = ir.NewValue(fmt.Sprint("in", i), ir.TypeOf(t))
		}
	}
	n := len(r.o.Out)
	if len(r.c.Out) > 0 {
		n = len(r.c.Out)
	}
	out := make([]*ir.Value, n)
	for i := range out {
		out[i] = ir.NewValue(fmt.Sprint("out", i), ir.Type{})
	}
	attrs := map[string]*ir.Attr{}
	for k, a := range r.c.Attrs {
		attrs[k] = a
	}
	opset := r.c.Opset
	if opset == 0 {
		opset = r.o.Versions[0]
	}
	return ir.NewNode(r.o.Domain, r.o.Name, opset, vals, out, attrs)
}

func reference(o *op.Op, n *ir.Node, in []*tensor.Tensor) ([]*tensor.Tensor, error) {
	c := &op.Call{Context: context.Background(), Node: n, In: in, Lend: rubbish}
	if err := o.Ref(c); err != nil {
		return nil, err
	}
	if len(c.Out) > len(n.Out) {
		c.Out = c.Out[:len(n.Out)]
	}
	return c.Out, nil
}

// rubbish is memory for an output that holds what an earlier run may have left there.
func rubbish(_ int, dt dtype.Type, shape []int) *tensor.Tensor {
	t := tensor.New(dt, shape...)
	for i := range t.Data {
		t.Data[i] = 0x5a
	}
	return t
}

func (r *run) checkExpected() {
	for i, want := range r.c.Out {
		if want == nil {
			continue
		}
		if i >= len(r.out) || r.out[i] == nil {
			r.Errorf("output %d is missing, expected %s", i, want)
			continue
		}
		if err := Compare(r.out[i], want, r.c.Tol); err != nil {
			r.Errorf("output %d: %v", i, err)
		}
	}
}

// facts describes the inputs: as types only, with symbolic dimensions, or with
// the contents of those from index known on.
func (r *run) facts(known int, symbolic bool) []op.Fact {
	facts := make([]op.Fact, len(r.c.In))
	for i, t := range r.c.In {
		if t == nil {
			continue
		}
		v := ir.NewConst("", t)
		facts[i] = op.FactOf(v)
		if i < known {
			facts[i].Const, facts[i].Content = nil, nil
		}
		if symbolic {
			s := make(shape.Shape, len(t.Shape))
			for j, d := range t.Shape {
				s[j] = shape.Sym(fmt.Sprintf("d%d", d))
			}
			facts[i].Shape = s
		}
	}
	return facts
}

func (r *run) checkInference() {
	none := len(r.c.In)
	for _, x := range []struct {
		name     string
		known    int
		symbolic bool
	}{{"types", none, false}, {"first unknown", 1, false}, {"all known", 0, false}, {"symbolic", none, true}} {
		c := &op.Infer{Node: r.node, In: r.facts(x.known, x.symbolic), Out: make([]op.Fact, len(r.node.Out))}
		if err := r.o.Infer(c); err != nil {
			r.Errorf("inference from %s: %v", x.name, err)
			continue
		}
		for i, f := range c.Out {
			if i < len(r.out) && r.out[i] != nil {
				if err := agrees(f, r.out[i], x.symbolic); err != nil {
					r.Errorf("inference from %s: output %d: %v", x.name, i, err)
				}
			}
		}
	}
}

// agrees checks an inferred type against a computed tensor.
func agrees(f op.Fact, t *tensor.Tensor, symbolic bool) error {
	if f.DType != dtype.Invalid && f.DType != t.DType {
		return fmt.Errorf("inferred %s, computed %s", f.Type, t)
	}
	if t.DType == dtype.Sequence || t.DType == dtype.Optional || f.Shape == nil {
		return nil
	}
	if len(f.Shape) != len(t.Shape) || !symbolic && !f.Shape.Compatible(shape.Of(t.Shape...)) {
		return fmt.Errorf("inferred %s, computed %s", f.Type, t)
	}
	if symbolic || f.Content == nil {
		return nil
	}
	have, err := elements(t)
	if err != nil || len(have) != len(f.Content) {
		return fmt.Errorf("inferred contents %v of %s", f.Content, t)
	}
	for i, d := range f.Content {
		if n, ok := d.Int(); ok && n != have[i] {
			return fmt.Errorf("inferred element %d as %d, computed %d", i, n, have[i])
		}
	}
	return nil
}

// elements reads integers, and bools as 0 and 1, as inference follows them.
func elements(t *tensor.Tensor) ([]int, error) {
	if t.DType != dtype.Bool {
		return t.Ints()
	}
	out := make([]int, t.Len())
	for i, v := range num.Int64s(t) {
		out[i] = int(v)
	}
	return out, nil
}

func (r *run) checkKernels() {
	if r.o.Compile == nil {
		return
	}
	for _, level := range cpu.Levels() {
		restore := cpu.Force(level)
		for _, known := range []int{len(r.c.In), 1} {
			for _, p := range r.pools {
				name := fmt.Sprintf("kernel at %s, %d threads, %d inputs known", level, p.Threads(), len(r.c.In)-known)
				for _, r.precision = range []op.Precision{op.FP32, op.BF16} {
					if r.precision.Available() != nil {
						continue
					}
					if err := r.checkKernel(r.facts(known, false), p); err != nil {
						r.Errorf("%s, %v: %v", name, r.precision, err)
					}
				}
			}
		}
		restore()
	}
}

func (r *run) checkKernel(in []op.Fact, p *pool.Pool) error {
	k, scratch, err := r.compile(in, p)
	if k == nil || err != nil || op.PrecisionOf(k) != r.precision {
		return err
	}
	c := r.call(p, scratch)
	if err := k.Run(c); err != nil {
		return err
	}
	if err := r.compareAll(c.Out); err != nil {
		return err
	}
	if n := allocations(func() { err = k.Run(c) }); n > 0 && err == nil {
		return fmt.Errorf("a run allocates %v times", n)
	}
	for _, i := range r.o.InPlace {
		if i >= len(r.c.In) || r.c.In[i] == nil || r.c.In[i].DType != r.out[0].DType || !sameShape(r.c.In[i], r.out[0]) {
			continue
		}
		c := r.call(p, scratch)
		c.Out[0] = r.c.In[i].Clone()
		c.In = append([]*tensor.Tensor{}, c.In...)
		c.In[i] = c.Out[0]
		if err := k.Run(c); err != nil {
			return err
		}
		if err := r.compareAll(c.Out); err != nil {
			return fmt.Errorf("in place of input %d: %w", i, err)
		}
	}
	return nil
}

func (r *run) compile(in []op.Fact, p *pool.Pool) (op.Kernel, []byte, error) {
	prep := &op.Prep{Node: r.node, In: in, Threads: p.Threads(), Precision: r.precision, Pack: pack}
	for _, t := range r.out {
		f := op.Fact{}
		if t != nil {
			f = op.Fact{Type: ir.TypeOf(t), Present: true}
		}
		prep.Out = append(prep.Out, f)
	}
	k, err := r.o.Compile(prep)
	if k == nil || err != nil {
		return nil, nil, err
	}
	var scratch []byte
	if s, ok := k.(op.Scratcher); ok {
		scratch = tensor.Bytes(s.ScratchBytes())
		for i := range scratch {
			scratch[i] = 0xa5
		}
	}
	return k, scratch, nil
}

func pack(_ string, bytes int, fill func([]byte)) []byte {
	b := tensor.Bytes(bytes)
	fill(b)
	return b
}

// call makes a call with outputs that hold rubbish, as a plan's buffers do.
func (r *run) call(p *pool.Pool, scratch []byte) *op.Call {
	c := &op.Call{Context: context.Background(), Node: r.node, In: r.c.In, Pool: p, Scratch: scratch}
	for _, t := range r.out {
		o := t
		if t != nil && t.Data != nil {
			o = rubbish(0, t.DType, t.Shape)
		}
		c.Out = append(c.Out, o)
	}
	return c
}

// tolerance is that of the case, or what rounded operands may do.
func (r *run) tolerance() float64 {
	if r.precision == op.BF16 {
		return max(r.c.Tol, 2e-2)
	}
	return r.c.Tol
}

func (r *run) compareAll(out []*tensor.Tensor) error {
	for i, want := range r.out {
		if want == nil {
			continue
		}
		if err := Compare(out[i], want, r.tolerance()); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// allocations is the least of a few counts: on a busy machine the pool's threads and the
// collector allocate now and then, and are counted with a run.
func allocations(run func()) float64 {
	n := testing.AllocsPerRun(3, run)
	for try := 0; try < 4 && n > 0; try++ {
		n = min(n, testing.AllocsPerRun(3, run))
	}
	return n
}
