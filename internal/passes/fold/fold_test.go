package fold

import (
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/passtest"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestConstants(t *testing.T)  { passtest.Run(t, "constants", Constants) }
func TestShapes(t *testing.T)     { passtest.Run(t, "shapes", Shapes) }
func TestBatchNorm(t *testing.T)  { passtest.Run(t, "batchnorm", BatchNorm) }
func TestAffine(t *testing.T)     { passtest.Run(t, "affine", Affine) }
func TestArithmetic(t *testing.T) { passtest.Run(t, "arithmetic", Arithmetic) }
func TestPads(t *testing.T)       { passtest.Run(t, "pad", Pads) }
func TestCrops(t *testing.T)      { passtest.Run(t, "crop", Crops) }
func TestHalves(t *testing.T)     { passtest.Run(t, "halves", Halves) }

// A large constant that something else reads too stays one.
func TestArithmeticShared(t *testing.T) {
	for _, c := range []struct {
		length, factors int
	}{{largeJoint, 3}, {largeJoint - 1, 2}} {
		g, err := ir.Parse(`graph "g" {
  input %x float32[n]
  input %k float32[n]
  const %s float32[] = 0.5
  %a = Mul(%x, %s)
  %b = Mul(%a, %k)
  %c = Mul(%x, %k)
  output %b
  output %c
}
`, 13)
		if err != nil {
			t.Fatal(err)
		}
		k := tensor.New(dtype.Float32, c.length)
		for i := range tensor.Of[float32](k) {
			tensor.Of[float32](k)[i] = float32(1 + i)
		}
		g.Inputs[1].MakeConst(k)
		g.Inputs = g.Inputs[:1]
		if err := op.InferTypes(g); err != nil {
			t.Fatal(err)
		}
		if _, err := pass.Run(g, []pass.Pass{Arithmetic}, pass.Options{Level: pass.MaxLevel}); err != nil {
			t.Fatal(err)
		}
		if len(g.Nodes) != c.factors {
			t.Errorf("%d numbers: %d products, expected %d", c.length, len(g.Nodes), c.factors)
		}
	}
}
