package cli

import (
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/ir"
)

// A mask of random zeros and ones may hide all of a short input, and then no precision differs from another.
func TestOneRandomSampleHidesNothing(t *testing.T) {
	g, err := ir.Parse("graph \"masked\" {\n input %x float32[n,4]\n input %mask int64[n,8]\n input %valid bool[n,8]\n %y = Relu(%x)\n output %y\n}", 17)
	if err != nil {
		t.Fatal(err)
	}
	sets, err := new(engineFlags).readSamples(g)
	if err != nil || len(sets) != 2 {
		t.Fatalf("%d sets of samples, %v", len(sets), err)
	}
	mask, err := sets[0][1].Ints()
	if err != nil || slices.Min(mask) != 1 || slices.Max(mask) != 1 || slices.Min(sets[0][2].Data) != 1 {
		t.Errorf("%v and %v: expected ones", mask, sets[0][2].Data)
	}
	if mask, err := sets[1][1].Ints(); err != nil || slices.Max(mask) > 1 {
		t.Errorf("%v, %v: expected zeros and ones", mask, err)
	}
}
