package contrib_test

import (
	"testing"

	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestCases(t *testing.T) { optest.Run(t) }
