package fuse

import (
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/match"
)

// clipBounds reads the bounds of a Clip, which are attributes before opset 11
// and inputs since.
func clipBounds(n *ir.Node) (name string, params []float32, ok bool) {
	lo, hi := float32(-math.MaxFloat32), float32(math.MaxFloat32)
	if n.Opset < 11 {
		if n.Has("min") {
			lo = n.Float("min")
		}
		if n.Has("max") {
			hi = n.Float("max")
		}
		return "clip", []float32{lo, hi}, true
	}
	for i, b := range []*float32{&lo, &hi} {
		if v := n.Input(1 + i); v != nil {
			if *b, ok = match.Scalar(v); !ok {
				return "", nil, false
			}
		}
	}
	return "clip", []float32{lo, hi}, true
}
