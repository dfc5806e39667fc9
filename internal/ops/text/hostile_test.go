package text_test

import (
	"testing"

	"github.com/salver-ml/salver/internal/ops/optest"
	_ "github.com/salver-ml/salver/internal/ops/text"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
