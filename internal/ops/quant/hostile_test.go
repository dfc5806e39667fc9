package quant_test

import (
	"testing"

	"github.com/salver-ml/salver/internal/ops/optest"
	_ "github.com/salver-ml/salver/internal/ops/quant"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
