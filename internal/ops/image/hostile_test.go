package image_test

import (
	"testing"

	_ "github.com/salver-ml/salver/internal/ops/image"
	"github.com/salver-ml/salver/internal/ops/optest"
)

func TestHostileInputs(t *testing.T) { optest.Hostile(t) }
