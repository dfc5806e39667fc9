// Package reduce computes sums, means, extrema, products and norms of a tensor
// over any set of axes, and the indices of extrema.
//
//	r, err := reduce.New(reduce.Mean, dtype.Float32, shape, []int{2, 3})
//	r.Run(pool, dst.Data, src.Data, scratch) // scratch has r.Scratch() bytes
//
// # Order
//
// The reduced elements of one result, in row-major order, are cut into blocks
// of 4096. Where the last axis is kept, the elements of a block are added one
// after the other, from zero. Where it is reduced, element i of a block is added
// to lane i mod 32, lanes start at zero, and lane j takes lane j+h for h = 16, 8,
// 4, 2, 1. The blocks' results are reduced by such lanes either way, without
// further blocks. That order depends on which axes are reduced and on the number of
// reduced elements only: not on other sizes, the split or the
// threads; and it is the same at every instruction-set level, with every
// operation rounded (no FMA), so the bits are too. LogSumExp always goes by lanes; it and LogSum
// differ between levels, by their log and exp.
//
// Maximum and minimum of anything with a NaN are NaN. Integers wrap; their mean
// truncates, and their L2, LogSum and LogSumExp go through float64 and truncate.
// Nothing reduced gives 0 for sums and norms, 1 for Prod, ∓Inf (or the
// type's least and greatest value; an error for integers below int32, and uint32) for Max and Min, -Inf for LogSum and
// LogSumExp, and NaN (integers: 0) for Mean.
//
// Integers of 8 and 16 bits and truths are reduced as int32, uint32 and means of int32 as int64.
package reduce

const (
	blockLen = 4096
	lanes    = 32
)
