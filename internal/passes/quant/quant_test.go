package quant

import (
	"testing"

	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestIntegerMatMul(t *testing.T) { passtest.Run(t, "integer-matmul", IntegerMatMul) }

// all are the passes on static quantization, as passes.All has them.
var all = []pass.Pass{Spell, Move, QDQ, QLinear, Contrib, Residual, Limits, Weights}

func TestQDQ(t *testing.T)     { passtest.Run(t, "qdq", all...) }
func TestMove(t *testing.T)    { passtest.Run(t, "move", all...) }
func TestQLinear(t *testing.T) { passtest.Run(t, "qlinear", all...) }
func TestContrib(t *testing.T) { passtest.Run(t, "contrib", all...) }
func TestSpell(t *testing.T)   { passtest.Run(t, "spell", Spell) }
func TestChannelsLast(t *testing.T) {
	passtest.Run(t, "channels-last", append(append([]pass.Pass{}, all...), ChannelsLast)...)
}

func TestFloatProduct(t *testing.T) { passtest.Run(t, "float-product", FloatProduct) }
