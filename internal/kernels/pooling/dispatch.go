package pooling

import "github.com/salver-ml/salver/internal/kernels/window"

// kernels is what an instruction-set level provides for each Kind.
type kernels [2]struct {
	blocked []window.TileFunc // by number of pixels
	// Rows in plain layout, of one plane and of several, by stride; nil: there are none.
	rows   [mostRowStride]rowFunc
	planes [mostRowStride]planesFunc
}
