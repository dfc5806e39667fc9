package reduce

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/pool"
)

// Reduce is a prepared reduction. It may be used by one Run at a time.
type Reduce struct {
	layout
	n         int // input elements
	via       dtype.Type
	keep      []int
	transpose *transpose.Transpose
	widen     *elemwise.Cast
	narrow    *elemwise.Cast
	runner    runner
	scratch   parts
}

// parts are the pieces of scratch memory, in bytes.
type parts struct{ turned, wide, result, work int }

// runner is a typed reduction behind bytes.
type runner interface {
	runBytes(p *pool.Pool, dst, src, scratch []byte)
	scratchBytes() int
}

// New prepares op for a type and a shape; axes may be negative. No axes reduce
// nothing: the operator decides what an absent list means.
func New(op Op, dt dtype.Type, shape, axes []int) (*Reduce, error) {
	if op >= numOps {
		return nil, fmt.Errorf("reduce: no operation %v", op)
	}
	l, err := newLayout(shape, axes, op == LogSumExp)
	if err != nil {
		return nil, fmt.Errorf("reduce %v: %w", op, err)
	}
	if via := viaType(op, dt); l.k == 0 && via != dt && !dt.IsFloat() && (op == Max || op == Min) {
		return nil, fmt.Errorf("reduce %v: no elements of %v", op, dt)
	}
	r := &Reduce{layout: l, n: l.outer * l.k * l.inner, via: viaType(op, dt), keep: keepDims(shape, axes)}
	if r.runner = newByteRows(op, dt, l); r.runner != nil {
		r.via = dt
	} else if r.runner = newRunner(op, r.via, l); r.runner == nil {
		return nil, fmt.Errorf("reduce %v: not defined for %v", op, dt)
	}
	if l.perm != nil {
		if r.transpose, err = transpose.New(dt.Bits()/8, shape, l.perm); err != nil {
			return nil, err
		}
		r.scratch.turned = round64(dt.Bytes(r.n))
	}
	if r.via != dt {
		if r.widen, err = elemwise.NewCast(dt, r.via); err != nil {
			return nil, err
		}
		if r.narrow, err = elemwise.NewCast(r.via, dt); err != nil {
			return nil, err
		}
		r.scratch.wide = round64(r.via.Bytes(r.n))
		r.scratch.result = round64(r.via.Bytes(l.outer * l.inner))
	}
	r.scratch.work = round64(r.runner.scratchBytes())
	return r, nil
}

func round64(n int) int { return (n + 63) &^ 63 }

// viaType is the type in which dt is reduced.
func viaType(op Op, dt dtype.Type) dtype.Type {
	switch {
	case dt == dtype.Float16 || dt == dtype.BFloat16:
		return dtype.Float32
	case (op == LogSumExp || op == LogSum || op == L2) && dt.IsInt():
		return dtype.Float64
	case op == Mean && dt == dtype.Int32:
		return dtype.Int64
	case dt == dtype.Bool || dt.IsInt() && dt.Bits() < 32:
		return dtype.Int32
	case dt == dtype.Uint32:
		return dtype.Int64
	}
	return dt
}

// Shape is the result's shape without the reduced axes; KeepShape has 1 for each.
func (r *Reduce) Shape() []int { return r.shape }

// KeepShape is the result's shape with 1 for each reduced axis.
func (r *Reduce) KeepShape() []int { return r.keep }

// Scratch is the number of bytes of scratch memory that Run needs, aligned to 64.
func (r *Reduce) Scratch() int {
	return r.scratch.turned + r.scratch.wide + r.scratch.result + r.scratch.work
}

// Run reduces src into dst.
func (r *Reduce) Run(p *pool.Pool, dst, src, scratch []byte) {
	take := func(n int) []byte {
		b := scratch[:n]
		scratch = scratch[n:]
		return b
	}
	turned, wide, result, work := take(r.scratch.turned), take(r.scratch.wide), take(r.scratch.result), take(r.scratch.work)
	if r.transpose != nil {
		r.transpose.Run(p, turned, src)
		src = turned
	}
	if r.widen == nil {
		r.runner.runBytes(p, dst, src, work)
		return
	}
	wide, result = wide[:r.via.Bytes(r.n)], result[:r.via.Bytes(r.outer*r.inner)]
	r.widen.Run(p, wide, src)
	r.runner.runBytes(p, result, wide, work)
	r.narrow.Run(p, dst, result)
}

func newRunner(op Op, dt dtype.Type, l layout) runner {
	switch dt {
	case dtype.Float32:
		return newTyped[float32](op, l)
	case dtype.Float64:
		return newTyped[float64](op, l)
	case dtype.Int32:
		return newTyped[int32](op, l)
	case dtype.Int64:
		return newTyped[int64](op, l)
	case dtype.Uint64:
		return newTyped[uint64](op, l)
	}
	return nil
}

func (r *typed[T]) runBytes(p *pool.Pool, dst, src, scratch []byte) {
	r.run(p, view[T](dst)[:r.outer*r.inner], view[T](src)[:r.outer*r.k*r.inner], view[T](scratch))
}

func (r *typed[T]) scratchBytes() int {
	var z T
	return r.scratchLen() * int(unsafe.Sizeof(z))
}

// view reads bytes as elements.
func view[T any](b []byte) []T {
	var z T
	n := len(b) / int(unsafe.Sizeof(z))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}

// expDiff computes dst = e^(x-m).
func expDiff[T number](dst, x []T, m T) {
	if d, ok := any(dst).([]float32); ok {
		s, c := any(x).([]float32), any(m).(float32)
		for i, v := range s {
			d[i] = v - c
		}
		elemwise.Float32(elemwise.Exp)(d, d, elemwise.Params{})
		return
	}
	for i, v := range x {
		dst[i] = T(math.Exp(float64(v - m)))
	}
}

// Rows of float32, reduced in this package's order on this goroutine.

// SumRow is Σx.
func SumRow(x []float32) float32 {
	e := current()
	if len(x) <= blockLen {
		return e.block[foldSum](x)
	}
	return sumBlocks(e.block[foldSum], x)
}

// AbsRow is Σ|x|.
func AbsRow(x []float32) float32 { return sumBlocks(current().block[foldAbs], x) }

// SquareDiffRow is Σ(x-mean)².
func SquareDiffRow(x []float32, mean float32) float32 {
	k := current()
	var sums Blocks
	for len(x) > 0 {
		n := min(blockLen, len(x))
		sums.Add(k.squareDiff(x[:n], mean))
		x = x[n:]
	}
	return sums.Sum()
}

func sumBlocks(block func([]float32) float32, x []float32) float32 {
	var sums Blocks
	for len(x) > 0 {
		n := min(blockLen, len(x))
		sums.Add(block(x[:n]))
		x = x[n:]
	}
	return sums.Sum()
}

// MaxRow is the greatest of x: -Inf if it is empty, NaN if it holds a NaN.
func MaxRow(x []float32) float32 {
	block := current().block[foldMax]
	m := block(x[:min(blockLen, len(x))])
	for len(x) > blockLen {
		x = x[blockLen:]
		m = greater(m, block(x[:min(blockLen, len(x))]))
	}
	return m
}

// Blocks collects the sums of a row's successive blocks of 4096 elements.
type Blocks struct {
	lanes [lanes]float32
	n     int
}

// Add takes the next block's sum.
func (b *Blocks) Add(v float32) {
	b.lanes[b.n%lanes] += v
	b.n++
}

// Sum is the row's sum.
func (b *Blocks) Sum() float32 {
	if b.n == 1 {
		return b.lanes[0]
	}
	return sumTree(&b.lanes)
}
