package conv

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
)

// Tuning decides how a plan computes where several ways give the same bits. The
// zero value leaves all of it to cost models.
type Tuning struct {
	Blocks    int          // output blocks of a register tile, one of [TileBlocks]
	Order     window.Order // of the chunks
	PartBytes int          // most input of a chunk
	Rows      bool         // 1×1 kernels go through an image row by row, not as one long row
}

// TileBlocks lists the numbers of output blocks for which a level has register
// tiles.
func TileBlocks(level cpu.Target) (list []int) {
	for n, tiles := range forLevel(level).tiles {
		if tiles != nil {
			list = append(list, n)
		}
	}
	return list
}

// checkTuning refuses what a level has no kernels for.
func (p *Params) checkTuning(level cpu.Target) error {
	t := &p.Tuning
	if tiles := forLevel(level).tiles; t.Blocks < 0 || t.Blocks >= len(tiles) || t.Blocks > 0 && tiles[t.Blocks] == nil {
		return fmt.Errorf("conv: register tiles of %d blocks, %v has those of %v", t.Blocks, level, TileBlocks(level))
	}
	if t.Order > window.WeightFirst || t.PartBytes < 0 {
		return fmt.Errorf("conv: order %d and parts of %d bytes, expected 0 to %d and at least 0", t.Order, t.PartBytes, window.WeightFirst)
	}
	return nil
}
