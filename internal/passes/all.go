// Package passes lists the optimization passes in the order in which they run.
package passes

import (
	"slices"

	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/fold"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/passes/layout"
	"github.com/salver-ml/salver/internal/passes/quant"
)

// All are the passes in order: first what removes and computes, then what
// folds into weights, then what fuses, then what chooses layouts,
// and last what knows operators only by what they do.
var All = slices.Concat(simplify, fusions, layout.Passes, []pass.Pass{fuse.Pointwise, fuse.Halves})

// fusions are the passes that merge operators.
var fusions = []pass.Pass{
	fold.Halves,
	fuse.Activations,
	fuse.LayerNorm,
	fuse.Rotary,
	fuse.Rows,
	fuse.Attention,
	quant.Spell,
	quant.Move,
	quant.QDQ,
	quant.QLinear,
	quant.Contrib,
	quant.Residual,
	quant.Limits,
	quant.ChannelsLast,
	quant.FloatProduct,
	quant.Weights,
	quant.IntegerMatMul,
	fuse.ConvResidual,
	fuse.ConvActivation,
	fuse.MatMul,
	fuse.Gates,
	fuse.Products,
}
