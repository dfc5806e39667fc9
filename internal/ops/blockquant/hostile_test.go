package blockquant_test

import (
	"testing"

	_ "github.com/salver-ml/salver/internal/ops/blockquant"
	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestOperators(t *testing.T) { optest.Run(t) }

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
