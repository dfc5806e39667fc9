package decoder

import (
	"testing"

	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestOperators(t *testing.T) { optest.Run(t) }
