package fold

import (
	"testing"

	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestConstants(t *testing.T)  { passtest.Run(t, "constants", Constants) }
func TestShapes(t *testing.T)     { passtest.Run(t, "shapes", Shapes) }
func TestBatchNorm(t *testing.T)  { passtest.Run(t, "batchnorm", BatchNorm) }
func TestAffine(t *testing.T)     { passtest.Run(t, "affine", Affine) }
func TestArithmetic(t *testing.T) { passtest.Run(t, "arithmetic", Arithmetic) }
func TestPads(t *testing.T)       { passtest.Run(t, "pad", Pads) }
func TestHalves(t *testing.T)     { passtest.Run(t, "halves", Halves) }
