package clean

import (
	"testing"

	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestNoop(t *testing.T)   { passtest.Run(t, "noop", Noop) }
func TestCommon(t *testing.T) { passtest.Run(t, "common", Common) }
