package conv

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

// The generated assembly reads a tile at these offsets (tools/asmgen/planar.go).
func TestPlanarTileOffsets(t *testing.T) {
	var x planarTile
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.In), 0}, {unsafe.Offsetof(x.Weights), 8}, {unsafe.Offsetof(x.Bias), 16}, {unsafe.Offsetof(x.Out), 24},
		{unsafe.Offsetof(x.InChannel), 32}, {unsafe.Offsetof(x.InRow), 40}, {unsafe.Offsetof(x.InCol), 48},
		{unsafe.Offsetof(x.Channels), 56}, {unsafe.Offsetof(x.KH), 64}, {unsafe.Offsetof(x.KW), 72},
		{unsafe.Offsetof(x.OutChannel), 80}, {unsafe.Offsetof(x.Steps), 88}, {unsafe.Offsetof(x.Lo), 96}, {unsafe.Offsetof(x.Hi), 100},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && c.got != c.want {
			t.Errorf("field %d is at %d, the assembly expects %d", i, c.got, c.want)
		}
	}
}

// Planar kernels take any number of channels and pixels, kernels larger than the input, and
// rows and columns that see nothing but padding.
func TestPlanarAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	ps := pools(t)
	for _, level := range cpu.Levels() {
		planar := 0
		for channels := 1; channels <= 33; channels++ {
			for _, size := range []int{1, 2, 5, 9, 31, 65} {
				k := 1 + rng.IntN(4)
				p := Params{In: 2 * (1 + rng.IntN(9)), Out: 2 * channels, Groups: 2, Kernel: []int{k, 1 + rng.IntN(4)}, Dilation: []int{1 + rng.IntN(2), 1 + rng.IntN(2)},
					Pads: []int{2 + rng.IntN(4), 3, rng.IntN(4), 2 + rng.IntN(4)}, Residual: rng.IntN(2) == 0,
					Act: Activation{Kind: Kind(rng.IntN(int(Silu) + 1)), Lo: -0.5, Hi: 1.5, Alpha: 0.1}}
				spatial := []int{1 + rng.IntN(7), size}
				if rng.IntN(3) == 0 { // a volume, whose depth may have strides
					spatial = append([]int{1 + rng.IntN(5)}, spatial...)
					p.Kernel, p.Stride, p.Dilation = append([]int{1 + rng.IntN(3)}, p.Kernel...), []int{1 + rng.IntN(2), 1, 1}, append([]int{1 + rng.IntN(2)}, p.Dilation...)
					p.Pads = []int{rng.IntN(3), p.Pads[0], p.Pads[1], rng.IntN(3), p.Pads[2], p.Pads[3]}
				}
				if _, err := p.OutSpatial(spatial); err != nil {
					continue
				}
				plan, err := New(p, spatial, level)
				if err != nil {
					t.Fatal(err)
				}
				if plan.planar != nil {
					planar++
				}
				t.Run(fmt.Sprintf("%v/%d/%d", level, channels, size), func(t *testing.T) {
					l := newLayer(t, rng, p, spatial, 1+rng.IntN(2))
					l.check(t, ordinary{plan}, level, ps, l.differ)
				})
			}
		}
		if planar < 100 {
			t.Errorf("%v: %d layers of %d were planar", level, planar, 33*6)
		}
	}
}

// One row of many columns is computed in parts, the ends of which may see nothing but padding.
func TestPlanarParts(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	ps := pools(t)
	for _, level := range cpu.Levels() {
		for i := range 24 {
			in, out := 5+rng.IntN(9), 1+rng.IntN(Block(level)/2)
			p := Params{In: in, Out: out, Kernel: []int{1, 2 + rng.IntN(12)}, Dilation: []int{1, 1 + rng.IntN(60)},
				Pads: []int{0, rng.IntN(700), 0, rng.IntN(700)}, Residual: rng.IntN(2) == 0,
				Act: Activation{Kind: Kind(rng.IntN(int(Silu) + 1)), Lo: -0.5, Hi: 1.5, Alpha: 0.1}}
			spatial := []int{1, 3000 + rng.IntN(3000)}
			switch i % 4 {
			case 0: // a row of outputs from several of inputs
				p.Kernel[0], spatial[0] = 3, 3
			case 1:
				p.In, p.Out, p.Groups = 3*in, 6, 3
			case 2:
				p.Pads[1], p.Pads[3] = 0, 0
			}
			plan, err := New(p, spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.planar == nil || plan.planar.chunkCols(1, 3) >= plan.out[1] {
				t.Errorf("%v: %v of %v is not computed in parts", level, p, spatial)
			}
			l := newLayer(t, rng, p, spatial, 1+rng.IntN(2))
			l.check(t, ordinary{plan}, level, ps, l.differ)
		}
	}
}

// A row so long that it leaves the cache is computed in parts on one thread too.
func TestPlanarLongRow(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for _, level := range cpu.Levels() {
		p := Params{In: 5, Out: 2, Kernel: []int{1, 5}, Pads: []int{0, 4, 0, 0}}
		l := newLayer(t, rng, p, []int{1, 30000}, 1)
		plan, err := New(p, l.spatial, level)
		if err != nil {
			t.Fatal(err)
		}
		if floats := plan.ScratchSize(1); plan.planar.chunkCols(1, 1) >= 30000 || floats > 3*planarBytes/4 {
			t.Errorf("%v: %d columns at once, %d floats of scratch", level, plan.planar.chunkCols(1, 1), floats)
		}
		l.check(t, ordinary{plan}, level, pools(t), l.differ)
	}
}

// Few channels of plain input stay plain where the outputs are few as well.
func TestPlanarFewToFew(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, level := range cpu.Levels() {
		for in := 1; in <= fewChannels; in++ {
			for out, want := range map[int]Algorithm{1: Plain, Block(level) / 2: Plain, Block(level)/2 + 1: PlainInput} {
				p := Params{In: in, Out: out, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Act: Activation{Kind: Relu}}
				if got := Choose(p, level); got != want {
					t.Errorf("%v: %d to %d channels: %v, want %v", level, in, out, got, want)
				}
				plan, err := New(p, []int{13, 17}, level)
				if err != nil {
					t.Fatal(err)
				}
				l := newLayer(t, rng, p, []int{13, 17}, 2)
				l.check(t, ordinary{plan}, level, pools(t), l.differ)
			}
		}
	}
}
