package math_test

import (
	"testing"

	_ "github.com/salver-ml/salver/internal/ops/math"
	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
