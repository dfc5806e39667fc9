// Package passes lists the optimization passes in the order in which they run.
package passes

import (
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/clean"
	"github.com/salver-ml/salver/internal/passes/fold"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/passes/layout"
	"github.com/salver-ml/salver/internal/passes/quant"
)

// All are the passes in order: first what removes and computes, then what
// folds into weights, then what fuses, then what chooses layouts.
var All = []pass.Pass{
	clean.Noop,
	fold.Shapes,
	fold.Constants,
	clean.Common,
	fold.BatchNorm,
	fold.Affine,
	fuse.Activations,
	quant.IntegerMatMul,
	fuse.ConvResidual,
	fuse.ConvActivation,
	fuse.MatMul,
	layout.Conv,
	layout.Choose,
	layout.Cancel,
}
