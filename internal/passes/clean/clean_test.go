package clean

import (
	"testing"

	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/passtest"
)

func TestGoldens(t *testing.T) {
	for _, c := range []struct {
		prefix string
		passes []pass.Pass
	}{
		{"noop", []pass.Pass{Noop}},
		{"common", []pass.Pass{Common}},
		{"chains", []pass.Pass{Chains}},
		{"slices", []pass.Pass{Slices}},
		{"gathers", []pass.Pass{Gathers}},
		{"gathers_not", []pass.Pass{Gathers}},
		{"reshapes", []pass.Pass{Reshapes}},
		{"transposes", []pass.Pass{Transposes, Views}},
		{"sink", []pass.Pass{Transposes, SinkTransposes}},
		{"expand", []pass.Pass{Expands}},
		{"scatter", []pass.Pass{ScatterRows}},
		{"outputs", []pass.Pass{Outputs}},
		{"branch", []pass.Pass{Branches}},
		{"loop", []pass.Pass{Loops}},
		{"sequence", []pass.Pass{Sequences}},
	} {
		passtest.Run(t, c.prefix, c.passes...)
	}
}
