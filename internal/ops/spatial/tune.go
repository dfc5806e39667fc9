package spatial

import (
	"slices"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/op"
)

// Tune asks for the choices that a convolution leaves open.
func Tune(p *op.Prep, c *conv.Params, level cpu.Target) {
	if conv.WinogradFits(*c, level) {
		a := op.Choice{Name: "algorithm", Options: []string{conv.Direct.String(), conv.Winograd.String()}, Arithmetic: true}
		if p.Node.Str("algorithm") == conv.Winograd.String() {
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
