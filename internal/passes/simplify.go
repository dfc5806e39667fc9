package passes

import (
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/clean"
	"github.com/salver-ml/salver/internal/passes/fold"
	"github.com/salver-ml/salver/internal/passes/fuse"
)

// simplify are the passes that make the graph smaller with standard operators:
// first what removes and computes, then what brings chains into one form, then
// what folds into weights.
var simplify = []pass.Pass{
	clean.Noop,
	fold.Shapes,
	fuse.Einsum,
	fuse.TransposedWeights,
	fold.Constants,
	clean.Branches,
	clean.Loops,
	clean.Sequences,
	clean.Common,
	clean.Outputs,
	clean.Expands,
	clean.ScatterRows,
	clean.Chains,
	clean.Slices,
	clean.Gathers,
	clean.Reshapes,
	clean.Transposes,
	clean.SinkTransposes,
	clean.Views,
	fold.Arithmetic,
	fold.Pads,
	fold.Crops,
	fold.BatchNorm,
	fold.Affine,
}
