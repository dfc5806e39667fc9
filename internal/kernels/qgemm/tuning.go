package qgemm

import (
	"errors"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Tuning decides how a task is cut, which shows in no bit. The zero value leaves
// it to the cost model.
type Tuning struct {
	BlockBytes int          // most of B that meets a tile of A; the default is BlockBytes
	Along      tiling.Along // which cuts make chunks for threads
}

// BlockBytes is half of the second-level cache.
func BlockBytes() int { return cpu.Cache().L2 / 2 }

func (t *Tuning) check() error {
	if t.BlockBytes < 0 || t.Along > tiling.ByColumns {
		return errors.New("qgemm: tuning with a negative size, or a cut that is not defined")
	}
	return nil
}
