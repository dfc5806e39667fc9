package gemm

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Tuning decides how a task is cut, which shows in no bit. The zero value leaves
// all of it to the cost model.
type Tuning struct {
	TileRows   int           // most rows of a tile; more than the level's kernels have are the same as those
	DepthRows  int           // most rows of a block of B: K is cut into blocks of about equal depth
	BlockBytes int           // most of B in a block; the default is BlockBytes
	CopyB      tiling.Switch // of B into panels, where it isn't packed
	Along      tiling.Along  // which cuts make chunks for threads
}

// TileRows is the number of rows of the largest tile of the level in force.
func TileRows() int { return current().mr }

// BlockBytes is the default of Tuning's: half of the second-level cache, and little
// of a packed B, whose blocks are fetched while the one before is in use. The first
// block is not.
func BlockBytes(packed bool) int {
	half := cpu.Cache().L2 / 2
	if packed {
		return min(half, 256<<10)
	}
	return half
}

func (t *Tuning) check() error {
	if t.TileRows < 0 || t.DepthRows < 0 || t.BlockBytes < 0 || t.CopyB > tiling.Off || t.Along > tiling.ByColumns {
		return fmt.Errorf("gemm: tuning %+v: no number may be negative, and no choice beyond those defined", *t)
	}
	return nil
}
