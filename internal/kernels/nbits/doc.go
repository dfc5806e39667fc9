// Package nbits multiplies rows of float32 by weights of 4 or 8 bits that share scales,
// which stay as small in memory as they are in the file.
//
// # Arithmetic
//
// A weight is float32(code - zero) · scale, rounded; zero is an integer, so that the
// difference is exact. An element of the result is the chain of fused multiply-adds that
// package gemm has for a matrix of such weights, and so has the same bits; then the bias is
// added. At level generic products are rounded before they are added, as there.
//
// Few rows are multiplied as codes are read; for more, a block of weights is written as
// float32 for the kernels of gemm.
package nbits
