// Package conv computes fp32 convolutions.
//
// # Layout
//
// The fast kernels work on blocked activations: a tensor of C channels is the
// 5-D tensor [N, ⌈C/b⌉, H, W, b], where b is Block(level), one vector register
// of channels: 16 with AVX-512, 8 otherwise. [NewToBlocked] fills the channels
// beyond C with zeros. Kernels may leave other numbers there (the sigmoid of 0 is
// 1/2, infinity times a weight of zero is NaN): sums leave these channels out and
// [NewFromBlocked] drops them. Only where several groups share a block do sums read
// all of it, with weights of zero for the channels of other groups. A one-dimensional convolution can use the layout as
// two-dimensional with H = 1.
//
// # Use
//
// A [Plan] is made once from [Params], the input's spatial size and the level;
// it says which layout it reads and writes, and how large its buffers are. The
// caller packs weights once (the packed form depends on Params, level and
// Algorithm, so plans for several sizes share it) and makes a [Runner] per
// session:
//
//	plan, err := conv.New(params, []int{56, 56}, cpu.Level())
//	packed := make([]float32, plan.PackedSize()) // 64-byte aligned is fastest
//	plan.Pack(packed, weights, bias)
//	run := plan.NewRunner()
//	err = run.Run(pool, conv.Operands{N: 1, In: x, Weights: packed, Out: y, Scratch: s})
//
// Nothing is allocated per run. A Plan is safe for concurrent use, a Runner is
// for one run at a time.
//
// [NewTranspose] makes the same for transposed convolutions. [Reorder] changes
// the layout of an activation. [Reference] and [ReferenceTranspose] define what
// is computed, for any number of dimensions.
//
// # Arithmetic
//
// Each output is one chain of multiply-adds (fused in assembly) that starts at
// the bias and visits input blocks, kernel rows, kernel columns and channels in
// order, leaving out taps in the padding; then the residual is added and the
// activation applied. The order depends on the layer alone, so the bits are the
// same for any batch, split and number of threads. A [Plain] convolution of a
// volume adds the kernel's depths up one by one, but where it is planar (see planarFits) channels come first, and
// taps in the padding are zeros, as those beside a row are where rows are copied (see padded, padRow). [Taps] adds
// the residual to the bias, and visits taps first, then channels. [Winograd] sums in its own
// order, which also depends on the layer and its size alone; it is used only
// where Params allows it.
//
// # How it is fast
//
// Package window splits an output plane into rectangles whose outputs use the
// same taps, at most nine for a 3×3 kernel, so padding is neither tested nor
// multiplied. A register tile of up to 28 sums (12 with AVX2) covers pixels
// along the longer side of a rectangle and one to four output blocks. Weights
// of a run of output blocks stream from the second-level cache.
package conv
