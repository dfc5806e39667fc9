// Package quant makes networks smaller and faster by storing weights and
// activations in fewer bits. It holds what all quantizers share: the affine
// mapping between reals and integers, and the ranges it is made from.
//
//	samples   calibration data: arrays, pictures, text, JSON lines
//	calib     ranges from what was seen: min-max, percentile, entropy, MSE, distribution
//	ptq       post-training quantization of ONNX graphs: static, dynamic, 16-bit floats
//	recover   what wins accuracy back: equalization, bias correction, SmoothQuant, AdaRound
//	weight    weight-only mathematics on a matrix: rounding, GPTQ, AWQ, HQQ, codebooks
//	nbits     weight-only quantization of ONNX graphs
//	lm        language models, layer by layer: GGUF, GPTQ, AWQ and compressed-tensors files
//	guard     the bound on accuracy, and mixed precision to a budget
//	report    what was done and why, as text, JSON and a page
package quant
