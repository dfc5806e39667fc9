// Package norm normalizes float32 tensors: layer, RMS, group, instance, batch
// (inference), Lp and local response normalization.
//
//	n := norm.NewLayer(rows, width, eps)
//	n.Run(pool, dst, src, gamma, beta)
//
// Means and variances take two passes in the order of package reduce, local
// response normalization adds squares in the order of the channels; every
// operation is rounded, so the bits depend on the row alone: not on other rows,
// the split, the threads or the instruction-set level. dst may be src, but for
// local response normalization. A prepared object is for one Run at a time. At
// least 16384 elements make a chunk for the pool; less stays on the calling thread.
package norm
