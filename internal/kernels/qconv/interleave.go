package qconv

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Interleave brings images of three planes of bytes, as they come to a network,
// into [N, H, W, C].
type Interleave struct {
	images, area int
	parts        int
	dst, src     []byte
}

// NewInterleave prepares for images of so many pixels.
func NewInterleave(images, area int) *Interleave {
	return &Interleave{images: images, area: area, parts: split.Parts(area, 16384)}
}

// Run reorders src.
func (v *Interleave) Run(p *pool.Pool, dst, src []byte) error {
	if n := 3 * v.images * v.area; len(dst) != n || len(src) != n {
		return fmt.Errorf("qconv: interleaving %d bytes into %d, expected %d", len(src), len(dst), n)
	}
	v.dst, v.src = dst, src
	p.Run(v.images*v.parts, v)
	v.dst, v.src = nil, nil
	return nil
}

// Do reorders one chunk; it is called by the pool.
func (v *Interleave) Do(i int) {
	lo, hi := split.Range(v.area, v.parts, i%v.parts)
	image := i / v.parts * 3 * v.area
	src := v.src[image:][:3*v.area]
	current().interleave3(v.dst[image+3*lo:image+3*hi], src[lo:hi], src[v.area+lo:v.area+hi], src[2*v.area+lo:2*v.area+hi])
}
