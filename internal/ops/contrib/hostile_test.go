package contrib_test

import (
	"testing"

	_ "github.com/salver-ml/salver/internal/ops/contrib"
	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
