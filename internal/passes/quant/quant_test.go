package quant

import (
	"testing"

	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestIntegerMatMul(t *testing.T) { passtest.Run(t, "integer-matmul", IntegerMatMul) }
