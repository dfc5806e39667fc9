// Package nbits stores the weights of ONNX graphs in few bits and leaves
// activations alone.
//
// A matrix product with constant weights, MatMul or Gemm, becomes
// com.microsoft's MatMulNBits, or with Options.Portable a standard
// DequantizeLinear in front of it; NF4 becomes MatMulBnb4, float8 a
// DequantizeLinear. With Options.Embeddings, a Gather from a constant table
// becomes GatherBlockQuantized. The mathematics are package weight's.
//
// GPTQ and AWQ look at what each product reads. All that fits into
// Options.Memory is gathered in one run over the samples; with
// Options.Sequential products are quantized one input after the other, and each
// sees what the quantized products before it give.
package nbits
