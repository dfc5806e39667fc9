// Package ops links all operators into the program.
package ops

import (
	_ "github.com/salver-ml/salver/internal/ops/activation"
	_ "github.com/salver-ml/salver/internal/ops/blocked"
	_ "github.com/salver-ml/salver/internal/ops/blockquant"
	_ "github.com/salver-ml/salver/internal/ops/contrib"
	_ "github.com/salver-ml/salver/internal/ops/control"
	_ "github.com/salver-ml/salver/internal/ops/decoder"
	_ "github.com/salver-ml/salver/internal/ops/fused"
	_ "github.com/salver-ml/salver/internal/ops/image"
	_ "github.com/salver-ml/salver/internal/ops/logic"
	_ "github.com/salver-ml/salver/internal/ops/math"
	_ "github.com/salver-ml/salver/internal/ops/ml"
	_ "github.com/salver-ml/salver/internal/ops/nn"
	_ "github.com/salver-ml/salver/internal/ops/quant"
	_ "github.com/salver-ml/salver/internal/ops/random"
	_ "github.com/salver-ml/salver/internal/ops/recurrent"
	_ "github.com/salver-ml/salver/internal/ops/reduce"
	_ "github.com/salver-ml/salver/internal/ops/sequence"
	_ "github.com/salver-ml/salver/internal/ops/signal"
	_ "github.com/salver-ml/salver/internal/ops/tensorops"
	_ "github.com/salver-ml/salver/internal/ops/text"
)
