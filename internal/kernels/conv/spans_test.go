package conv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// Groups that fill no whole blocks: of 16 channels they are computed where they lie.
func TestGroupsThatFillNoBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	ps := pools(t)
	for _, c := range []struct {
		size, groups, stride, dilation int
		residual                       bool
	}{
		{24, 3, 1, 1, false}, {24, 4, 2, 1, true}, {40, 3, 1, 2, false}, {56, 2, 1, 1, true}, {28, 5, 1, 1, false}, {168, 2, 2, 1, false},
	} {
		all := c.size * c.groups
		p := Params{In: all, Out: all, Groups: c.groups, Kernel: []int{3, 3}, Stride: []int{c.stride, c.stride}, Dilation: []int{c.dilation, c.dilation},
			Pads: []int{1, 1, 1, 1}, Residual: c.residual, Act: Activation{Kind: Relu}}
		if !spansBlocks(p, 16) {
			t.Errorf("groups of %d are not computed in blocks of 16", c.size)
		}
		t.Run(fmt.Sprint(c.size, c.groups), func(t *testing.T) {
			for _, level := range cpu.Levels() {
				plan, err := New(p, []int{7, 9}, level)
				if err != nil {
					t.Fatal(err)
				}
				l := newLayer(t, rng, p, []int{7, 9}, 2)
				l.check(t, ordinary{plan}, level, ps, l.differ)
				testBatch(t, l, level, ps[1])
			}
		})
	}
}

// What is read where it lies ends with the last pixel of the last channel.
func TestPlanarPointwise(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	ps := pools(t)
	for _, p := range []Params{
		{In: 17, Out: 17, Kernel: []int{1, 1}, Act: Activation{Kind: Relu}}, {In: 5, Out: 3, Kernel: []int{1, 1}}, {In: 33, Out: 33, Kernel: []int{1, 1}},
		{In: 60, Out: 40, Groups: 4, Kernel: []int{1, 1}, Act: Activation{Kind: Clip, Lo: -1, Hi: 1}}, {In: 58, Out: 58, Groups: 2, Kernel: []int{1, 1}, Act: Activation{Kind: Silu}},
	} {
		for _, spatial := range [][]int{{1, 1}, {3, 5}, {4, 4}, {19, 7}, {70, 65}} {
			l := newLayer(t, rng, p, spatial, 2)
			for _, level := range cpu.Levels() {
				plan, err := New(p, spatial, level)
				if err != nil {
					t.Fatal(err)
				}
				l.check(t, ordinary{plan}, level, ps, l.differ)
				testBatch(t, l, level, ps[1])
			}
		}
	}
}
