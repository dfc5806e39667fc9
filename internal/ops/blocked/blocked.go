// Package blocked registers the operators of domain "salver" that compute on
// the blocked layout: a tensor of C channels is [N, ⌈C/b⌉, H, W, b], where b is
// the width of a vector register in floats (package conv has the details).
// Elementwise operators, Concat along channels and others need no blocked form:
// on five dimensions they mean the same.
package blocked

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// maxBlock bounds the width of a block: no vector register holds as many floats.
const maxBlock = 64

var onlyFloat = op.Types{"T": {dtype.Float32}}

// Shape is the blocked form of the plain shape [N, C, H, W].
func Shape(plain shape.Shape, block int) shape.Shape {
	return shape.Shape{plain[0], plain[1].DivCeil(block), plain[2], plain[3], shape.Const(block)}
}

// plainShape is the shape [N, C, H, W] of a blocked tensor.
func plainShape(s shape.Shape, channels int) shape.Shape {
	return shape.Shape{s[0], shape.Const(channels), s[2], s[3]}
}

// checkBlocked compares a shape with that of a blocked tensor.
func checkBlocked(s shape.Shape, channels, block int) error {
	if block < 1 || block > maxBlock || channels < 1 {
		return fmt.Errorf("block is %d and channels are %d, expected 1 to %d and at least 1", block, channels, maxBlock)
	}
	if want := shape.Of(blocks(channels, block), block); len(s) != 5 || !want.Compatible(shape.Shape{s[1], s[4]}) {
		return fmt.Errorf("expected a blocked tensor [N,%d,H,W,%d] of %d channels, found %v", blocks(channels, block), block, channels, s)
	}
	return nil
}

// checkBias expects one number for each of the output's channels.
func checkBias(b op.Fact, channels shape.Dim) error {
	if b.Present && !b.Shape.Compatible(shape.Shape{channels}) {
		return fmt.Errorf("bias has shape %v, expected [%v]", b.Shape, channels)
	}
	return nil
}

func blocks(channels, block int) int { return (channels + block - 1) / block }

// levelFits reports whether the kernels of the level in use have a node's block.
func levelFits(n *ir.Node) bool { return n.Int("block") == conv.Block(cpu.Level()) }

// plain converts a blocked tensor to float32 [N, C, H, W] in the simplest way.
func plain(t *tensor.Tensor, channels int) *tensor.Tensor {
	n, area, b := t.Shape[0], t.Shape[2]*t.Shape[3], t.Shape[4]
	out := tensor.New(dtype.Float32, n, channels, t.Shape[2], t.Shape[3])
	src, dst := widened(t), tensor.Of[float32](out)
	for i := range n * channels * area {
		img, c, p := i/(channels*area), i/area%channels, i%area
		dst[i] = src[((img*t.Shape[1]+c/b)*area+p)*b+c%b]
	}
	return out
}

// block converts [N, C, H, W] into dst, with zeros in the channels beyond C.
func block(dst, t *tensor.Tensor) {
	if dst.DType == dtype.BFloat16 {
		wide := tensor.New(dtype.Float32, dst.Shape...)
		block(wide, t)
		roundInto(dst, wide)
		return
	}
	n, channels, area, b := t.Shape[0], t.Shape[1], t.Shape[2]*t.Shape[3], dst.Shape[4]
	src, out := tensor.Of[float32](t), tensor.Of[float32](dst)
	clear(out)
	for i := range n * channels * area {
		img, c, p := i/(channels*area), i/area%channels, i%area
		out[((img*dst.Shape[1]+c/b)*area+p)*b+c%b] = src[i]
	}
}

// blockedDims is the blocked shape of constant sizes.
func blockedDims(n, channels, h, w, b int) []int { return []int{n, blocks(channels, b), h, w, b} }
