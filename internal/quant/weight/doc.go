// Package weight rounds matrices of weights to few bits: pure mathematics on
// float32 numbers, with no notion of graphs or files.
//
//	RTN   each number to the nearest level of its group, scales by range or by least error
//	GPTQ  column by column, each error made good by the columns that follow
//	AWQ   inputs that are large get finer levels, by scales that the layer before takes back
//	HQQ   zero points that suit heavy tails, without data
//
// A matrix is [Rows, Cols] = [outputs, inputs]. A row is cut into groups of
// columns that share a scale. Activations gathers what a layer reads: the
// Hessian of the layer's squared error, means, and a few rows as they are.
//
// Every result has the same bits on any number of threads: work is split along
// rows and columns only.
package weight
