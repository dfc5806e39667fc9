package fuse

import (
	"testing"

	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/clean"
	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestActivations(t *testing.T)       { passtest.Run(t, "activation", Activations) }
func TestAttention(t *testing.T)         { passtest.Run(t, "attention", Attention) }
func TestConvResidual(t *testing.T)      { passtest.Run(t, "conv-residual", ConvResidual, ConvActivation) }
func TestConvActivation(t *testing.T)    { passtest.Run(t, "conv-activation", ConvActivation) }
func TestLayerNorm(t *testing.T)         { passtest.Run(t, "layernorm", LayerNorm) }
func TestMatMul(t *testing.T)            { passtest.Run(t, "matmul", MatMul) }
func TestRotary(t *testing.T)            { passtest.Run(t, "rotary", Rotary) }
func TestRows(t *testing.T)              { passtest.Run(t, "rows", Rows) }
func TestTransposedWeights(t *testing.T) { passtest.Run(t, "transposed", TransposedWeights) }
func TestPointwise(t *testing.T)         { passtest.Run(t, "pointwise", Pointwise) }
func TestGates(t *testing.T)             { passtest.Run(t, "gates", Gates, Products) }
func TestProducts(t *testing.T)          { passtest.Run(t, "products", Products) }
func TestHalves(t *testing.T)            { passtest.RunAt(t, op.BF16, "half", MatMul, Halves, clean.Common) }
func TestEinsum(t *testing.T)            { passtest.Run(t, "einsum", Einsum) }
