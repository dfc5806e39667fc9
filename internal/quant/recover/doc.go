// Package recover wins back accuracy that rounding to few bits costs, by changing
// the weights of a graph that ptq has prepared, before it is quantized. The graph
// computes the same as before, but for Bias and AdaRound, which anticipate rounding.
//
//	Equalize  ranges of channels in neighbouring layers (Nagel and others, arXiv 1906.04721)
//	Smooth    outliers of activations move into weights: SmoothQuant (Xiao and others, 2211.10438)
//	Bias      what rounding the weights does to the mean of each output (Nagel and others)
//	AdaRound  which weights to round up and which down (Nagel and others, 2004.10568)
package recover
