// Package passes lists the optimization passes in the order in which they run.
package passes

import (
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/clean"
	"github.com/salver-ml/salver/internal/passes/fold"
)

// All are the passes in order: first what removes and computes, then what
// folds into weights, then what fuses.
var All = []pass.Pass{
	clean.Noop,
	fold.Shapes,
	fold.Constants,
	clean.Common,
	fold.BatchNorm,
	fold.Affine,
}
