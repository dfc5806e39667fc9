package ml

import (
	"testing"

	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
