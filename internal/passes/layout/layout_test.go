package layout

import (
	"os"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/passes/clean"
	"github.com/salver-ml/salver/internal/passes/passtest"
)

// TestMain fixes the block at 8 channels, so that the goldens hold on every CPU.
func TestMain(m *testing.M) {
	level = func() cpu.Target { return cpu.AVX2 }
	os.Exit(m.Run())
}

// TestHalf has blocks of 16 channels, which tiles need.
func TestHalf(t *testing.T) {
	defer func(l func() cpu.Target) { level = l }(level)
	level = func() cpu.Target { return cpu.AMX }
	passtest.RunAt(t, op.BF16, "half", append(Passes, clean.Common)...)
}

func TestConv(t *testing.T)     { passtest.Run(t, "conv", Conv, ConvTranspose) }
func TestLayout(t *testing.T)   { passtest.Run(t, "layout", Passes...) }
func TestEnds(t *testing.T)     { passtest.Run(t, "ends", append(Passes, clean.Common)...) }
func TestPadding(t *testing.T)  { passtest.Run(t, "padding", Passes...) }
func TestWinograd(t *testing.T) { passtest.Run(t, "winograd", Passes...) }
