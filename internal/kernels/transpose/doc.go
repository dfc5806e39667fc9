// Package transpose moves elements of 1, 2, 4, 8 or 16 bytes between layouts:
// permutations and strided copies (slice, concat, split, expand, pad).
//
//	t, err := transpose.New(4, shape, perm)
//	t.Run(pool, dst.Data, src.Data)
//
// Neighbouring dimensions are merged, pairs of elements that stay together move
// as one, rows that stay contiguous are copied whole, and the rest goes through
// two-dimensional tiles. A prepared object is for one Run at a time. At least
// 64 KiB make a chunk for the pool; less stays on the calling thread.
package transpose
