package optest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
	"github.com/salver-ml/salver/internal/testkit"
)

// hostileTries is the number of changed inputs per case, in all and with -short.
const hostileTries, hostileTriesShort = 120, 30

// Hostile feeds the operators of the family whose test it is called from with
// changed inputs and attributes of their cases: other shapes, absurd numbers.
// Nothing may panic, and what is computed has the inferred shape.
func Hostile(t *testing.T) {
	family := caller()
	tries := hostileTries
	if testing.Short() {
		tries = hostileTriesShort
	}
	for _, o := range op.All() {
		if o.Cases == nil || o.Random || elsewhere(o, family) {
			continue
		}
		t.Run(fmt.Sprintf("%s-%d", o.Name, o.Versions[0]), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for _, c := range o.Cases.Cases() {
				for range tries {
					attempt(t, o, changed(r, c))
				}
			}
		})
	}
}

// caller is the package whose test called the function that calls it.
func caller() string {
	pc, _, _, _ := runtime.Caller(2)
	name := runtime.FuncForPC(pc).Name()
	last := strings.LastIndexByte(name, '/') + 1
	family, _, _ := strings.Cut(name[last:], ".")
	return name[:last] + strings.TrimSuffix(family, "_test")
}

// elsewhere reports whether another family than the one given, whose operators
// the binary has since this one needs them, has tests of its own for an operator.
// What no family owns, such as rows of the table of pointwise functions, is
// tested wherever it is linked.
func elsewhere(o *op.Op, family string) bool {
	of := reflect.TypeOf(o.Cases).PkgPath()
	return of != family && !strings.HasSuffix(of, "/pointwise")
}

// HostileOnce tries what did harm once.
func HostileOnce(t *testing.T, domain, name string, c op.Case) {
	o := op.Find(domain, name, 1)
	if o == nil {
		t.Fatalf("no operator %s", name)
	}
	attempt(t, o, c)
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
	attrs := map[string]*ir.Attr{}
	for _, k := range slices.Sorted(maps.Keys(c.Attrs)) { // in one order, so that each run of the test tries the same
		a := *c.Attrs[k]
		if r.IntN(3) == 0 {
			switch a.Kind {
			case ir.KindInt:
				a.Int = []int64{int64(r.IntN(9) - 4), 1 << 40, -1 << 63, 1<<63 - 1}[max(0, r.IntN(12)-8)]
			case ir.KindInts:
				a.Ints = make([]int64, r.IntN(5))
				for i := range a.Ints {
					a.Ints[i] = []int64{int64(r.IntN(7) - 3), 1 << 40, -1 << 63, 1<<63 - 1}[max(0, r.IntN(24)-20)]
				}
			case ir.KindFloat:
				a.Float = float32(r.IntN(7) - 3)
			case ir.KindFloats:
				a.Floats = a.Floats[:r.IntN(len(a.Floats)+1)]
			case ir.KindStrings:
				a.Strs = a.Strs[:r.IntN(len(a.Strs)+1)]
			case ir.KindString:
				a.Str = []string{"", "?", a.Str}[r.IntN(3)]
			case ir.KindTensor:
				a.Tensor = changedTensor(r, a.Tensor)
			}
		}
		attrs[k] = &a
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
	m := tensor.New(changedType(r, t.DType), dims...)
	for i := range m.Len() {
		if t.Len() > 0 && t.DType == m.DType {
			m.CopyElements(i, t, i%t.Len(), 1)
		}
	}
	if r.IntN(2) == 0 {
		scribble(r, m)
	}
	return m
}

// changedType is mostly t.
func changedType(r *rand.Rand, t dtype.Type) dtype.Type {
	if r.IntN(8) > 0 {
		return t
	}
	return op.AllTensors[r.IntN(len(op.AllTensors))]
}

func scribble(r *rand.Rand, t *tensor.Tensor) {
	switch t.DType {
	case dtype.Int64:
		odd := []int64{0, 1, -1, 2, -2, 3, 5, -7, 1 << 40, -1 << 63, 1<<63 - 1}
		for i := range tensor.Of[int64](t) {
			tensor.Of[int64](t)[i] = odd[r.IntN(len(odd))]
		}
	case dtype.Int32:
		odd := []int32{0, 1, -1, 2, -2, 3, 5, -7, -1 << 31, 1<<31 - 1}
		for i := range tensor.Of[int32](t) {
			tensor.Of[int32](t)[i] = odd[r.IntN(len(odd))]
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
	start, before := testkit.Clock(), allocated()
	defer func() {
		what := fmt.Sprintf("%v with attributes %v", describe(c.In), c.Attrs)
		if p := recover(); p != nil {
			t.Errorf("%s panics: %v\n%s", what, p, origin(debug.Stack()))
		}
		if d := testkit.Clock() - start; d > maxAttempt {
			t.Errorf("%s takes %v", what, d)
		}
		if n := allocated() - before; n > maxAllocated {
			t.Errorf("%s allocates %d MiB", what, n>>20)
		}
	}()
	if op.Complete(r.node) != nil {
		return
	}
	r.inferVaguely()
	inf := &op.Infer{Node: r.node, In: r.facts(0, false), Out: make([]op.Fact, len(r.node.Out))}
	if o.InferOutputs(inf) != nil || enormous(inf.Out) {
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
	for _, known := range []int{0, 1, len(c.In)} {
		r.runKernel(known)
	}
}

// enormous reports whether outputs may well be too large for maxAllocated, as what was asked for.
func enormous(out []op.Fact) bool {
	for _, f := range out {
		if n, ok := f.Shape.Count().Int(); f.Shape != nil && ok && n > maxAllocated/64 {
			return true
		}
	}
	return false
}

// What a hostile case may take: cases are small.
const (
	maxAttempt   = 30 * time.Second // of the processor, which may be emulated
	maxAllocated = 1 << 30
)

func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// origin is the part of a stack that tells where a panic came from.
func origin(stack []byte) string {
	var at []string
	for line := range strings.Lines(string(stack)) {
		if strings.HasPrefix(line, "\t") && strings.Contains(line, "/internal/") && !strings.Contains(line, "/optest/") {
			at = append(at, line)
		}
	}
	return strings.Join(at[:min(len(at), 4)], "")
}

// inferVaguely infers from less than is known of the inputs: no contents, no
// shapes, no types, symbolic dimensions.
func (r *run) inferVaguely() {
	none := len(r.c.In)
	for _, in := range [][]op.Fact{r.facts(none, false), r.facts(none, true), r.without(true, false), r.without(true, true)} {
		_ = r.o.InferOutputs(&op.Infer{Node: r.node, In: in, Out: make([]op.Fact, len(r.node.Out))}) // refusing is fine
	}
}

// without is facts without shapes and types.
func (r *run) without(shapes, types bool) []op.Fact {
	facts := r.facts(len(r.c.In), false)
	for i := range facts {
		if shapes {
			facts[i].Shape = nil
		}
		if types {
			facts[i].DType, facts[i].Elem = dtype.Invalid, nil
		}
	}
	return facts
}

// runKernel runs the fast kernel, if all shapes are known from the contents of
// the inputs from index known on.
func (r *run) runKernel(known int) {
	if r.o.Compile == nil {
		return
	}
	inf := &op.Infer{Node: r.node, In: r.facts(known, false), Out: make([]op.Fact, len(r.node.Out))}
	if r.o.InferOutputs(inf) != nil {
		return
	}
	call := &op.Call{Context: context.Background(), Node: r.node, In: r.c.In}
	for _, f := range inf.Out {
		dims, fixed := f.Shape.Ints()
		if !fixed || f.DType == dtype.Invalid || f.Elem != nil || tensor.CheckSize(dims) != nil {
			return
		}
		call.Out = append(call.Out, tensor.New(f.DType, dims...))
	}
	k, err := r.o.Compile(&op.Prep{Node: r.node, In: inf.In, Out: inf.Out, Threads: 1, Pack: pack})
	if k == nil || err != nil {
		return
	}
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
