package op

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Call is one run of an operator. Reference implementations and kernels read
// In and write Out.
type Call struct {
	Context context.Context
	Node    *ir.Node
	In      []*tensor.Tensor // nil where an optional input is absent
	Out     []*tensor.Tensor // those whose shape the plan knows are set beforehand
	Pool    *pool.Pool       // nil runs serially
	Scratch []byte           // as many bytes as the kernel asked for, aligned, not cleared
	// Subgraph runs the body of If, Loop or Scan; values of outer graphs are bound.
	Subgraph func(g *ir.Graph, in []*tensor.Tensor) ([]*tensor.Tensor, error)
	// MaxOutput bounds the outputs that Output makes, in bytes; 0 allows any.
	MaxOutput int
	// MayAlias says that output 0 may be input 0's memory under another shape: nobody
	// writes into either again.
	MayAlias bool
	// Lend, if it is set, may have memory for output i, with arbitrary contents; nil: none.
	Lend func(i int, dt dtype.Type, shape []int) *tensor.Tensor
}

// Input gives input i, or nil if it is absent.
func (c *Call) Input(i int) *tensor.Tensor {
	if i < len(c.In) {
		return c.In[i]
	}
	return nil
}

// Output gives the tensor to write output i into: the planned one if type and
// shape agree, else a new one. Its contents are arbitrary. Outputs that the
// graph does not want are given too, and dropped. It panics with a
// *TooLargeError for a new tensor beyond MaxOutput, which ends the run.
func (c *Call) Output(i int, dt dtype.Type, shape ...int) *tensor.Tensor {
	for len(c.Out) <= i {
		c.Out = append(c.Out, nil)
	}
	if t := c.Out[i]; t != nil && t.DType == dt && slices.Equal(t.Shape, shape) {
		return t
	}
	c.Out[i] = nil
	if n := dt.Bytes(tensor.Count(shape)); c.MaxOutput > 0 && n > c.MaxOutput {
		panic(&TooLargeError{DType: dt, Shape: slices.Clone(shape), Bytes: n, Limit: c.MaxOutput})
	}
	if c.Lend != nil {
		if t := c.Lend(i, dt, append([]int{}, shape...)); t != nil { // a copy: shape itself stays on the stack
			if n := len(t.Data); n > 0 && dt.Bytes(8) < 8 {
				t.Data[n-1] = 0 // elements that there aren't are zeros
			}
			c.Out[i] = t
		}
	}
	if c.Out[i] == nil {
		c.Out[i] = tensor.New(dt, shape...)
	}
	return c.Out[i]
}

// TooLargeError is an output whose size, which data decides, is not allowed.
type TooLargeError struct {
	DType dtype.Type
	Shape []int
	Bytes int // what it needs, or already takes
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the result %s%v needs %d bytes, a result whose size depends on data may have %d", e.DType, e.Shape, e.Bytes, e.Limit)
}

// Holds refuses, with a *TooLargeError, that an operator gathers n bytes for
// output i, of which t is the last part, where the plan does not know their number.
func (c *Call) Holds(i, n int, t *tensor.Tensor) error {
	if c.MaxOutput == 0 || n <= c.MaxOutput || i < len(c.Out) && c.Out[i] != nil {
		return nil
	}
	return &TooLargeError{DType: t.DType, Shape: slices.Clone(t.Shape), Bytes: n, Limit: c.MaxOutput}
}

// Wants reports whether the graph uses output i.
func (c *Call) Wants(i int) bool { return c.Node.Output(i) != nil }

// Set makes t output i.
func (c *Call) Set(i int, t *tensor.Tensor) {
	for len(c.Out) <= i {
		c.Out = append(c.Out, nil)
	}
	c.Out[i] = t
}

// Kernel is a compiled operator, ready to run with inputs of the types that it
// was compiled for. Run may be called by one goroutine at a time.
type Kernel interface {
	Run(c *Call) error
}

// Scratcher is a Kernel that needs working memory.
type Scratcher interface{ ScratchBytes() int }

// KernelFunc makes a Kernel from a function.
type KernelFunc func(*Call) error

// Run calls f.
func (f KernelFunc) Run(c *Call) error { return f(c) }

// Prep is what a fast kernel is compiled from: all shapes are known.
type Prep struct {
	Node    *ir.Node
	In, Out []Fact
	Threads int
	// Precision is what products may be computed in.
	Precision Precision
	// Chooser takes the decisions that Choose asks for; nil takes the defaults.
	Chooser Chooser
	// Pack gives memory that depends on constants only, such as packed weights.
	// It calls fill once for each key and node and keeps the buffer for the life of the
	// session, whatever the shapes. Nodes that differ in no constant, attribute, type and
	// rank share it. Where a constant is not the graph's but follows from the shapes, the
	// buffer is the kernel's alone.
	Pack func(key string, bytes int, fill func([]byte)) []byte
	// Later is Pack for a kernel that can do without for some runs: the memory may be
	// filled later, some of its parts at a time, in their order. nil, or a nil result, asks
	// to Pack.
	Later func(key string, bytes, parts int, fill Fill) *Packing

	onlyPacked []bool
}

// Fill fills some parts of memory, which is given whole.
type Fill func(b []byte, from, to int)

// Packing is memory that a fill has filled, or will.
type Packing struct {
	Data  []byte
	parts int
	fill  Fill
	mu    sync.Mutex
	done  atomic.Int64 // parts that are filled, the first ones
}

// NewPacking is memory of so many parts, to be filled.
func NewPacking(data []byte, parts int, fill Fill) *Packing {
	return &Packing{Data: data, parts: parts, fill: fill}
}

// Done is how many parts are filled, the first ones.
func (p *Packing) Done() int { return int(p.done.Load()) }

// Filled reports whether the memory is filled.
func (p *Packing) Filled() bool { return p.Done() == p.parts }

// Fill fills what is not filled yet.
func (p *Packing) Fill() { p.FillBy(p.fill) }

// FillBy is Fill by another function, which does the same.
func (p *Packing) FillBy(fill Fill) { p.fillUpTo(p.parts, fill) }

// FillSome fills one more part, and reports whether that was the last.
func (p *Packing) FillSome() (last bool) {
	p.fillUpTo(min(p.Done()+1, p.parts), p.fill)
	return p.Filled()
}

func (p *Packing) fillUpTo(to int, fill Fill) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if from := p.Done(); from < to {
		fill(p.Data, from, to) // may panic: it stays unfilled then
		p.done.Store(int64(to))
	}
}

// OnlyPacked states that the kernel reads constant input i inside fills of Pack
// alone: nowhere else while it is compiled, and not when it runs. Its contents
// may be dropped then, and are there again when a fill is called. A kernel that
// states it does so for all shapes, before it packs.
func (p *Prep) OnlyPacked(i int) {
	if p.IsOnlyPacked(i) {
		return // a Prep may serve several goroutines after the first
	}
	for len(p.onlyPacked) <= i {
		p.onlyPacked = append(p.onlyPacked, false)
	}
	p.onlyPacked[i] = true
}

// IsOnlyPacked reports whether OnlyPacked was stated of input i.
func (p *Prep) IsOnlyPacked(i int) bool { return i < len(p.onlyPacked) && p.onlyPacked[i] }

// InShape gives the sizes of input i, which are known.
func (p *Prep) InShape(i int) []int { s, _ := p.In[i].Shape.Ints(); return s }

// OutShape gives the sizes of output i, which are known.
func (p *Prep) OutShape(i int) []int { s, _ := p.Out[i].Shape.Ints(); return s }

// Has reports whether optional input i is present.
func (p *Prep) Has(i int) bool { return i < len(p.In) && p.In[i].Present }

// Cases makes the test cases of an operator. They are a method and no function,
// since programs are linked without methods that nothing calls, and only tests
// call this one.
type Cases interface{ Cases() []Case }

// Case is one test case of an operator.
type Case struct {
	Name  string
	Opset int // 0 is the first of the operator's Versions
	Attrs map[string]*ir.Attr
	In    []*tensor.Tensor
	Out   []*tensor.Tensor // nil: compare kernels with the reference only
	Tol   float64          // relative to the largest expected magnitude; 0 is exact for integers, 1e-5 for floats
}
