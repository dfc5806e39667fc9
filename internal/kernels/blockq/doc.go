// Package blockq multiplies float32 rows by block-quantized weights:
//
//	Y[m,n] = Σ X[m,k]·W[n,k] + bias[n] + residual[m,n]
//
// where the rows of W are in one of GGML's formats (package dtype/block), packed
// by Pack for the kernels. A Task computes one product.
//
// # Arithmetic
//
// But for tokens of prompts, one arithmetic serves every M, position, thread count and
// instruction-set level, with the same bits.
//
// X is quantized to 8 bits. A row has one scale, and each of its blocks of 32 consecutive
// elements a power of two by which it is finer. With a the largest magnitude in the row, b
// that in the block, and j the largest of 0 to 12 for which b·(127/a)·2^j is below 127.5,
//
//	q[k] = round(x[k]·((127/a)·2^j))    S = Σ q[k]    s = S·2^(12-j)
//
// each operation rounded to float32, round to nearest, ties to even. A row in which a is
// below 2^-100 counts as zero. If it holds a NaN or an infinity, all its results are NaN.
//
// A result is one chain of fused multiply-adds over the blocks in order, from +0.
// Block b contributes an exact integer D with |D| < 2^24, shifted as s is, and what minimums
// the format has follow it:
//
//	y = fma(float32(D·2^(12-j)), dw, y)
//	y = fma(-min, s, y)
//
// All of these numbers are exact. The chain's end is multiplied by the row's scale,
// (a/127)·2^-12, rounded.
//
//	format                 D                             dw     min
//	Q4_0 Q5_0 Q8_0         Σ (c - zero)·q                d      none
//	IQ4_NL MXFP4           Σ table[c]·q                  d      none
//	IQ4_XS                 Σ table[c]·q                  d·sc   none
//	Q4_1 Q5_1              Σ c·q                         d      -m
//	Q4_K Q5_K              Σ c·q                         d·sc   dmin·m
//	Q6_K Q3_K              Σ_g sc[g]·Σ (c - zero)·q      d      none
//	Q2_K                   Σ_g sc[g]·Σ c·q               d      dmin·m[g], twice, with s of each half
//
// where c are the codes that the file has, and g are halves of a block, 16
// elements. d·sc and dmin·m are exact. Then the bias is added, and the residual,
// each rounded.
//
// Rows that are tokens of prompts have an arithmetic of their own where PromptsDiffer
// says so: on AMX. X and W are rounded to bfloat16, to nearest, ties to even, denormals
// to zero; an element of W is first rounded to float32, as c·dw, or fma(c, dw, -min)
// where the format has minimums, with the integer that the code stands for in place of
// c, and with d·sc[g] for dw where halves have scales. A result is, from +0,
//
//	for each block in order:
//	    even = fma(x[k], w[k], even) for k of 0 and 1 of each four, in order, from +0
//	    odd  = fma(x[k], w[k], odd)  for k of 2 and 3 of each four, in order, from +0
//	    y    = y + (even + odd)
//
// rounded as TDPBF16PS does. That takes half of the time.
//
// Weights in float16 and bfloat16 are widened to float32, and the arithmetic is
// that of package gemm for N > 1, with the same bits.
package blockq
