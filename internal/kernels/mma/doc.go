// Package mma multiplies matrices of bfloat16, with sums in float32, by the units that processors
// have for it: AMX tiles, and AVX-512 BF16 where its products are fast. It is what matrix products
// and convolutions of that precision are built of. Products of bytes in tiles are qgemm's and qconv's.
//
// A [Block] is up to 32 rows of A by some panels of 32 columns of B. K is cut
// into steps of 64 bytes: 32 bfloat16 of each row. Where a step
// begins in A is an offset that the caller gives, so a convolution needs no
// copy of its windows. A panel of B has for each step 16 rows of 128 bytes: a
// row holds, column by column, a pair of bfloat16 of neighbouring k. K is filled up
// with zeros in both operands.
//
// A [Strip] is a product of bfloat16 over all of K that also finishes its sums: biases, a
// residual, an activation, rounding.
//
// # Arithmetic
//
// An element of C is
//
//	for each step of 32 k, in order:
//		even = fma(a[k], b[k], even) for even k in order, from +0
//		odd  = fma(a[k], b[k], odd)  for odd k in order, from +0
//		c    = c + (even + odd)
//
// on tiles, and where AVX-512's own products of bfloat16 do the same in vector registers
//
//	for each pair of k, in order:
//		c = fma(a[k+1], b[k+1], c)
//		c = fma(a[k], b[k], c)
//
// in float32 (steps may be shorter, see [NewConfigs]), rounded to nearest, ties to even; denormal operands count as zeros
// and denormal results are zeros, both with their sign. Rounding to bfloat16 is
// to nearest, ties to even, and takes denormals for zeros as well. That is what
// TDPBF16PS, VDPBF16PS and VCVTNE2PS2BF16 are documented to do; the portable twins, which
// are for tests and too slow for more, do it in Go. The order depends on K
// alone: not on rows, panels, or where a product is cut along K between steps.
//
// # Tiles
//
// Tile registers are configured and released within one call of assembly, since
// they must not meet the scheduler. That takes about 50 ns, so a call should
// have many steps; it can't be preempted, so it should have no more than
// [MaxSteps].
package mma
