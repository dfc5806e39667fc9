package qconv

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/mma"
)

// Tuning decides how a plan divides its work among threads. It changes no bit.
type Tuning struct {
	Split  Split
	Chunks int // for each thread, if there is work for so many; 0: [DefaultChunks]
}

// Split is what the threads divide.
type Split uint8

const (
	ByCost   Split = iota // channels where weights are far larger than the input, else rows
	Rows                  // each thread has rows of the image, or pixels
	Channels              // each thread has some of the output's channels
)

// DefaultChunks lets threads that are late be helped.
const DefaultChunks = 4

func (t Tuning) check() error {
	if t.Split > Channels || t.Chunks < 0 {
		return fmt.Errorf("qconv: split %d and %d chunks for each thread, expected 0 to %d and at least 0", t.Split, t.Chunks, Channels)
	}
	return nil
}

// Tiles says whether the plan adds up in tiles of AMX, which a lower level doesn't.
func (pl *Plan) Tiles() bool { return pl.packed.tiled }

// TileUse is the part of the products in tiles that is not with padding: of a step's
// inputs, and of a panel's channels.
func (pl *Plan) TileUse() float64 {
	k := pl.packed
	return float64(pl.p.In*pl.p.Kernel[0]*pl.p.Kernel[1]) * float64(pl.p.Out) / (float64(k.taps*k.groups*4) * float64(len(k.panels)*mma.Cols))
}
