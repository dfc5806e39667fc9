package exec

import (
	"bytes"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// dynamicKernels compiles a step whose shapes depend on data when it runs, and keeps the
// kernels for the shapes that came last, the last one first.
type dynamicKernels []*dynamicKernel

// mostKernels is for how many shapes a step keeps its kernel.
const mostKernels = 4

type dynamicKernel struct {
	key     []inputKey
	sizes   [][]byte // contents of the inputs that shapes follow from, nil of others
	kernel  op.Kernel
	scratch int     // bytes
	out     [][]int // shapes of the outputs, nil where data decides
	types   []dtype.Type
}

// of gives the kernel for a call's inputs.
func (all *dynamicKernels) of(s *Session, st *step, c *op.Call) (*dynamicKernel, error) {
	at := slices.IndexFunc(*all, func(k *dynamicKernel) bool { return k.fits(c.In) })
	if at == 0 {
		return (*all)[0], nil
	}
	var k *dynamicKernel
	if at > 0 {
		k = (*all)[at]
		*all = slices.Delete(*all, at, at+1)
	} else {
		k = &dynamicKernel{}
		if err := k.compile(s, st, c); err != nil {
			return nil, err
		}
		*all = (*all)[:min(len(*all), mostKernels-1)]
	}
	*all = slices.Insert(*all, 0, k)
	return k, nil
}

func (all *dynamicKernels) run(f *frame, st *step, c *op.Call) error {
	d, err := all.of(f.plan.session, st, c)
	if err != nil {
		return err
	}
	if d.kernel == nil {
		return st.op.Ref(c)
	}
	f.made = true
	for i, shape := range d.out {
		if i == 0 && c.Out[0] == nil && shape != nil && f.given(st.out[0], d.types[0], shape) == nil {
			c.Out[0] = f.takeOver(st, c, d.types[0], shape)
		}
		if c.Out[i] == nil && shape != nil {
			c.Output(i, d.types[i], shape...)
		}
	}
	if d.scratch > len(f.scratch) {
		f.scratch = tensor.Bytes(d.scratch)
	}
	c.Scratch = f.scratch[:d.scratch:d.scratch]
	defer func() { c.Scratch = nil }()
	return d.kernel.Run(c)
}

// takeOver gives the memory of an input, made by a kernel of this run, that nothing reads
// after the step in progress, if the output may take it; else nil.
func (f *frame) takeOver(st *step, c *op.Call, dt dtype.Type, shape []int) *tensor.Tensor {
	for _, i := range st.op.InPlace {
		if i >= len(st.in) || st.in[i] < 0 {
			continue
		}
		id, x := st.in[i], c.In[i]
		if f.results == nil || f.results[id] == nil || !f.results[id].fresh || f.results[id].holders > 1 || x.DType != dt || !slices.Equal(x.Shape, shape) {
			continue
		}
		if j := slices.Index(st.in, id); j == i && !slices.Contains(st.in[j+1:], id) && slices.Contains(f.plan.last[f.at], id) {
			return &tensor.Tensor{DType: dt, Shape: slices.Clone(shape), Data: x.Data}
		}
	}
	return nil
}

func (d *dynamicKernel) fits(in []*tensor.Tensor) bool {
	if len(d.key) != len(in) {
		return false
	}
	for i, t := range in {
		if t == nil {
			continue
		}
		if t.DType != d.key[i].dtype || !slices.Equal(t.Shape, d.key[i].shape) || d.sizes != nil && d.sizes[i] != nil && !bytes.Equal(t.Data, d.sizes[i]) {
			return false
		}
	}
	return true
}

func (d *dynamicKernel) compile(s *Session, st *step, c *op.Call) error {
	d.key = make([]inputKey, len(c.In))
	inf := &op.Infer{Node: st.node, In: make([]op.Fact, len(c.In)), Out: make([]op.Fact, len(st.out))}
	for i, t := range c.In {
		if t == nil {
			continue
		}
		d.key[i] = inputKey{t.DType, slices.Clone(t.Shape)}
		inf.In[i] = op.Fact{Type: ir.TypeOf(t), Present: true}
		if v := st.node.In[i]; v.Const != nil {
			inf.In[i] = op.FactOf(v)
		}
	}
	if err := st.op.InferOutputs(inf); err != nil {
		return err
	}
	if st.op.Compile != nil && !st.op.SizesOutputs && !known(inf.Out) && (smallParts(st, c) || !d.follow(st, inf, c)) {
		return nil // data decides: the reference runs
	}
	for i, f := range inf.Out {
		shape, ok := f.Shape.Ints()
		if !ok && st.op.SizesOutputs {
			d.out, d.types = append(d.out, nil), append(d.types, f.DType)
			continue
		}
		if !ok || f.Elem != nil || f.DType == dtype.String || f.DType == dtype.Invalid || st.out[i] < 0 {
			return nil // data decides: the reference runs
		}
		d.out, d.types = append(d.out, shape), append(d.types, f.DType)
	}
	p := &op.Prep{Node: st.node, In: inf.In, Out: inf.Out, Threads: s.pool.Threads(), Precision: s.precision, Chooser: s.chooser}
	s.weights.serve(p)
	if d.sizes != nil { // they hold for this run only
		p.Chooser = nil
	}
	k, err := s.weights.compileInRun(s.providers[s.host()], p)
	if err != nil || k == nil {
		return err
	}
	d.kernel = k
	if sc, ok := k.(op.Scratcher); ok {
		d.scratch = sc.ScratchBytes()
	}
	return nil
}

func known(out []op.Fact) bool {
	return !slices.ContainsFunc(out, func(f op.Fact) bool { _, ok := fixed(f); return !ok })
}

const (
	mostSizes   = 64      // elements of an input that shapes may follow from
	leastKernel = 4 << 10 // bytes of a result for which a kernel is worth compiling, as its sizes may be others in the next run
)

// smallParts reports whether a step cuts what is too small for a kernel, whatever the sizes.
func smallParts(st *step, c *op.Call) bool {
	return st.op.Parts != nil && c.In[0] != nil && len(c.In[0].Data) < leastKernel
}

// follow infers again with the contents of small vectors of integers, from which the
// shapes of Expand or Slice follow, and reports whether the outputs are known then and large.
func (d *dynamicKernel) follow(st *step, inf *op.Infer, c *op.Call) bool {
	sizes := make([][]byte, len(c.In))
	for i, t := range c.In {
		if t != nil && inf.In[i].Const == nil && (t.DType == dtype.Int64 || t.DType == dtype.Int32) && t.Rank() <= 1 && t.Len() <= mostSizes {
			sizes[i] = append([]byte{}, t.Data...)
			inf.In[i].Const = &tensor.Tensor{DType: t.DType, Shape: slices.Clone(t.Shape), Data: sizes[i]}
		}
	}
	d.sizes = sizes
	inf.Out = make([]op.Fact, len(inf.Out))
	if err := st.op.InferOutputs(inf); err != nil || !known(inf.Out) {
		return false // it says what is wrong when it runs
	}
	largest := 0
	for _, f := range inf.Out {
		shape, _ := fixed(f)
		largest = max(largest, f.DType.Bytes(tensor.Count(shape)))
	}
	return largest >= leastKernel
}
