// Package bconv computes two-dimensional convolutions of float32 activations in
// bfloat16: inputs and weights are rounded, sums, bias, residual and activation
// are of float32. Package conv uses it; layouts and epilogues are conv's.
//
// # Arithmetic
//
// With a blocked input a step of package mma is one tap of 32 channels, and steps
// go over blocks of 32 channels, kernel rows and kernel columns in order. With up to
// 16 channels, not dilated along a row, a step is two columns; the last one of an odd
// number multiplies the column before once more, by zeros. With a plain input of up to
// four channels a step is one kernel row of four channels a column. Taps in the padding are zeros that are multiplied; channels that do not
// exist are zeros in the weights. In groups the steps are those of the blocks of 32 channels
// that any group of 32 neighbouring outputs needs, as many for all such outputs, and weights
// between groups are zeros. Then the bias, the residual and the limits are
// applied in that order, each rounded, and an activation that is more than limits
// last. So a bit of the output depends on the layer and the window alone.
//
// # How it is fast
//
// Inputs are rounded into scratch memory with their borders, 32 channels of a pixel
// together; with a stride, pixels that are a stride apart are neighbours there
// (with few channels only rows are).
// Then all taps of a run of outputs are runs of pixels, which tiles load where they
// lie: nothing is copied per window. A run goes on over the border from one row of
// outputs to the next; what is computed in between is dropped. Large images are
// rounded and computed band by band, so that a band is read from the second-level
// cache. While the tiles multiply, the vector units bring the sums before to their pixels
// (mma.Conv), unless the activation is a function that is applied to memory.
package bconv
