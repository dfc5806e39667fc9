package blocked_test

import (
	"testing"

	_ "github.com/salver-ml/salver/internal/ops/blocked"
	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
