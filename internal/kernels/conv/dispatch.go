package conv

import "github.com/salver-ml/salver/internal/kernels/window"

// kernels is what an instruction-set level provides.
type kernels struct {
	block int

	// tiles[nb][mr] computes mr pixels of nb output blocks; nil where the
	// registers don't hold them.
	tiles [][]window.TileFunc

	depthwise []window.TileFunc // by pixels; all channel blocks in turn
	activate  func(kind Kind, alpha float32, x []float32)
	transpose transposeFunc // nil in Go

	// planeSwitch is the cycles that a tile takes longer for each further plane it
	// writes: 16→96 channels at 112² take 15 % less with one plane of AVX-512.
	planeSwitch float64

	planar []planarKernel // by channels, the most first; the last has one

	winogradInput  winogradInputFunc
	winogradOutput winogradOutputFunc
}
