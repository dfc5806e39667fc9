package spatial

import (
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Tune asks for the choices that a convolution of an input with these spatial sizes leaves open.
func Tune(p *op.Prep, c *conv.Params, in []int, level cpu.Target) {
	if conv.WinogradFits(*c, level) {
		a := op.Choice{Name: "algorithm", Options: []string{conv.Direct.String(), conv.Winograd.String()}, Arithmetic: true}
		if p.Node.Str("algorithm") == conv.Winograd.String() && enoughPixels(c, in) {
			slices.Reverse(a.Options) // a pass has chosen for the whole model
		}
		c.Winograd = p.Choose(a) == conv.Winograd.String()
	}
	c.Tuning.Blocks = p.ChooseNumber("tile-blocks", append([]int{0}, conv.TileBlocks(level)...)...)
	if c.Winograd {
		return
	}
	c.Tuning.Order = window.Order(p.ChooseIndex(op.Choice{Name: "order", Options: []string{"by-cost", "input-first", "weights-first"}}))
	c.Tuning.PartBytes = p.ChooseNumber("part-bytes", window.DefaultPart, 32<<10, 64<<10, 128<<10, 512<<10, 1<<20)
	if conv.Choose(*c, level) == conv.Pointwise {
		c.Tuning.Rows = p.Choose(op.Choice{Name: "pixels", Options: []string{"one-row", "by-row"}}) == "by-row"
	}
}

// enoughPixels says whether Winograd's algorithm pays for an output: a pass that chose it may have known no sizes.
func enoughPixels(c *conv.Params, in []int) bool {
	out, err := c.OutSpatial(in)
	return err == nil && tensor.Count(out) >= conv.WinogradPixels
}
