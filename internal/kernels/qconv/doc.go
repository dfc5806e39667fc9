// Package qconv computes convolutions of 8-bit integers, exactly:
//
//	acc = bias + Σ (x - Input.Zero) · w
//	y   = saturate(round(float32(acc) · scale) + Output.Zero)
//
// with ties to even, for unsigned or signed x, signed w with a scale for each
// output channel, and limits that an activation narrows. A residual may be added
// in the same pass, see [Residual]. The bits are the same at every
// instruction-set level, batch, split and number of threads: integer sums don't
// depend on their order, and the few operations in floating point are each
// rounded.
//
// # Layout
//
// Activations are [N, H, W, C]: the channels of a pixel are adjacent, which is
// the order that instructions like VPDPBUSD want, four channels at a time, and
// wastes nothing where C is no multiple of a block. The taps of a kernel row are
// adjacent too, so that a window is as many runs of bytes as the kernel has rows,
// even where C is 3.
//
// # How it is fast
//
// A register tile of up to 14 pixels by 32 channels (4 or 5 by 16 with AVX2) takes a
// group of four numbers of each pixel at a time. With AVX2 they are words, which a copy
// of the input has, or bytes where weights are small enough for VPMADDUBSW not to
// saturate, or 1×1 kernels' weights are clipped so far, see clip.go. VPMADDWD multiplies sums of words and weights there, by Winograd's rule
// for inner products,
//
//	x0·w0 + x2·w2 = (x0 + w2)·(x2 + w0) - x0·x2 - w0·w2
//
// which is exact, half the multiplications, and no more instructions; x0·x2 is added up
// once for all channels, and w0·w2 when weights are packed. With AVX2 and VNNI kernels of 3×3 taps are
// computed by tiles of 4×4 outputs where planes are large, see squares.go, with a quarter of the
// multiplications. With AMX a tile is 32 by 32, and while the tiles of one block add up, the vector units
// round and store the one before.
// Padding is not tested for: an input with padding, or without AMX one of signed
// numbers, is first copied with its borders, which are Input.Zero. A [Plan] is made from [Params] and the size, weights are
// packed once, and a [Runner] runs without allocation.
package qconv
