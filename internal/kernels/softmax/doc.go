// Package softmax computes softmax and log-softmax of float32 tensors along any
// axis.
//
//	s, err := softmax.New(softmax.Plain, shape, axis)
//	s.Run(pool, dst, src, scratch) // scratch has s.Scratch() elements
//
// A row is reduced in the order of package reduce, whatever the axis, so its bits depend
// on its elements and the instruction-set level only. Elements are e^(x-max) times
// the rounded reciprocal of their sum, or (x-max) - log(sum). Exponentials that would be
// subnormal numbers are zeros.
//
// As in NumPy's definition, a row with a NaN or +Inf, or with nothing but -Inf, is all NaN;
// -Inf among finite values gives 0 (log: -Inf). A tensor with no elements gives none.
//
// Short rows, and rows that do not lie in one run, are computed many at a time, which changes none of their bits.
//
// A prepared object is for one Run at a time. dst may be src. At least 8192 elements make
// a chunk for the pool; less stays on the calling thread.
package softmax
