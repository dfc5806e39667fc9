package contrib

import (
	"testing"

	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestGoldens(t *testing.T) {
	for _, prefix := range []string{"conv", "matmul", "gelu", "norm"} {
		passtest.Run(t, prefix, Passes...)
	}
}
