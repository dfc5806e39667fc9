// Package elemwise computes functions of single elements: unary, binary with
// NumPy broadcasting, comparisons, selection, casts and quantization, for every
// numeric element type, with vector kernels for float32.
//
// A kernel is prepared once for its types and shapes and then run any number of
// times without an allocation:
//
//	k, err := elemwise.NewBinary(elemwise.Add, dtype.Float32, aShape, bShape)
//	k.Run(pool, dst.Data, a.Data, b.Data) // dst has the shape k.Shape()
//
// Buffers are row-major, little-endian bytes as tensor.Tensor holds them, and
// dst may be the same memory as an input of the same type and shape (in place).
// A prepared kernel holds the buffers while it runs: one Run at a time; prepare
// one per concurrent execution. At least 16384 elements make a chunk for the
// pool (2048 of a transcendental function), less work stays on the calling thread.
//
// # Arithmetic
//
// The bits of an element depend on its inputs and the instruction-set level
// only: not on its position, the shape, the split or the threads. Functions of
// one or a few roundings (+ - * / min max clip relu sqrt hardswish …) give the same
// bits at every level. The transcendental ones differ by level within the
// error stated at each Op, against the exact value; portable code computes
// them in float64 and rounds once. (The errors were measured on every 31st float32:
// go test -run UnaryError -stride 31.) Results too small for a normal float32 may
// be off by 2^-140 instead. NaN in gives NaN out, infinities and signed zeros give what
// C's function gives. Subnormal inputs and results are never flushed.
package elemwise
