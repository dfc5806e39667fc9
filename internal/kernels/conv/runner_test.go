package conv

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/window"
	"github.com/salver-ml/salver/internal/pool"
)

// TestFetchNext holds what a chunk fetches to the weights of a chunk to come.
func TestFetchNext(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	for _, threads := range []*pool.Pool{nil, p} {
		plan, err := New(Params{In: 256, Out: 512, Kernel: []int{1, 1}}, []int{7, 7}, cpu.Level())
		if err != nil {
			t.Fatal(err)
		}
		op := Operands{
			N: 1, In: make([]float32, plan.InSize(1)), Weights: make([]float32, plan.PackedSize()),
			Out: make([]float32, plan.OutSize(1)), Scratch: make([]float32, plan.ScratchSize(threads.Threads())),
		}
		r := plan.NewRunner()
		if err := r.Run(threads, op); err != nil {
			t.Fatal(err)
		}
		r.op = op
		var x window.Tile
		fetched := 0
		for i := range r.cut.Chunks() {
			r.fetchNext(&x, i)
			if x.Next == 0 {
				continue
			}
			fetched++
			later := i + 1
			if threads != nil && i >= r.cut.Chunks()/2 {
				later = i - 1 // the second thread comes from the end
			}
			g := plan.groupsOf[r.cut.At(later).Group]
			from := x.Next - uintptr(unsafe.Pointer(&op.Weights[0]))
			if want := uintptr(4*plan.packed.biasFloats + g.first*plan.weightsOut); from != want {
				t.Errorf("%d threads: chunk %d fetches from byte %d of the weights, want %d", threads.Threads(), i, from, want)
			}
			if n := x.NextEnd - x.Next; n != uintptr(g.n*plan.weightsOut) {
				t.Errorf("%d threads: chunk %d fetches %d bytes, want %d", threads.Threads(), i, n, g.n*plan.weightsOut)
			}
		}
		if fetched == 0 {
			t.Errorf("%d threads: no chunk of %d fetches anything", threads.Threads(), r.cut.Chunks())
		}
	}
}

// A depthwise chunk has whole planes of so few channels that threads get equally many.
func TestDepthwiseChunks(t *testing.T) {
	for _, c := range []struct{ blocks, side, images, threads, channels int }{
		{60, 7, 1, 1, 60}, {60, 7, 1, 2, 6}, {36, 14, 1, 2, 3}, {24, 14, 1, 2, 3}, {12, 28, 1, 2, 1}, {9, 56, 1, 2, 1}, {24, 14, 8, 2, 10}, {60, 7, 1, 3, 5},
	} {
		channels := c.blocks * Block(cpu.AVX512)
		p, err := New(Params{In: channels, Out: channels, Groups: channels, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}, []int{c.side, c.side}, cpu.AVX512)
		if err != nil {
			t.Fatal(err)
		}
		if c.threads == 1 {
			c.channels = p.channelRun
		}
		if got := p.chunkChannels(c.images, c.threads); got != min(c.channels, p.channelRun) {
			t.Errorf("%+v: a chunk has %d blocks of channels, of at most %d", c, got, p.channelRun)
		}
	}
}

// The tiles of large planes follow each other along rows, which changes no bit.
func TestAlongLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	for _, p := range []Params{
		{In: 3, Out: 40, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Residual: true, Act: Activation{Kind: Relu}},
		{In: 33, Out: 17, Kernel: []int{3, 2}, Stride: []int{2, 1}, Pads: []int{2, 0, 1, 4}},
		{In: 40, Out: 40, Groups: 40, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
	} {
		l := newLayer(t, rng, p, []int{14, 45}, 3)
		for _, level := range cpu.Levels() {
			plan, err := New(p, l.spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.grid.AlongLines {
				t.Errorf("%v on %v goes along the lines of a small plane", l, level)
			}
			want := l.compute(t, ordinary{plan}, level, nil)
			plan.grid.AlongLines = true
			if at := firstDifference(want, l.compute(t, ordinary{plan}, level, nil)); at >= 0 {
				t.Errorf("%v on %v: output %d has other bits along lines", l, level, at)
			}
		}
	}
}

// So do those that read a picture, which is in no cache.
func TestPicturesAreReadAlongLines(t *testing.T) {
	p := Params{In: 3, Out: 32, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}}
	for _, level := range cpu.Levels() {
		for side, want := range map[int]bool{28: false, 224: true} {
			plan, err := New(p, []int{side, side}, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.algorithm != PlainInput || plan.grid.AlongLines != want {
				t.Errorf("%v: a picture of %d² is read by %v, along lines: %v, expected %v", level, side, plan.algorithm, plan.grid.AlongLines, want)
			}
		}
	}
}

// A layer whose weights fit no cache has them read once, for as many rows as there are, and along these.
func TestLargeWeightsAreReadOnce(t *testing.T) {
	p := Params{In: 2048, Out: 512, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}}
	for _, level := range cpu.Levels() {
		plan, err := New(p, []int{64, 64}, level)
		if err != nil {
			t.Fatal(err)
		}
		cut := window.NewCut(plan.work(1, 1))
		if rows := cut.At(0).Area; rows.R1-rows.R0 != 64 || !plan.grid.AlongLines {
			t.Errorf("%v: %d rows of 64 read a run's weights, along lines: %v", level, rows.R1-rows.R0, plan.grid.AlongLines)
		}
	}
}

// Calls that go through some of a layer's large weights each change no bit.
func TestLargeWeightsDoNotChangeBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 32))
	l := newLayer(t, rng, Params{In: 2041, Out: 20, Kernel: []int{3, 3}, Dilation: []int{2, 2}, Residual: true, Act: Activation{Kind: Relu}}, []int{15, 14}, 2)
	ps := pools(t)
	for _, level := range cpu.Levels() {
		plan, err := New(l.p, l.spatial, level)
		if err != nil {
			t.Fatal(err)
		}
		if plan.blockRun >= plan.inBlocks {
			t.Errorf("%v: a call goes through all %d input blocks", level, plan.inBlocks)
		}
		whole := *plan
		whole.blockRun = plan.inBlocks
		want := l.compute(t, ordinary{&whole}, level, nil)
		if err := l.differ(want); err != nil {
			t.Fatalf("%v: %v", level, err)
		}
		for _, threads := range ps {
			if at := firstDifference(want, l.run(t, level, threads)); at >= 0 {
				t.Errorf("%v: output %d differs", level, at)
			}
			testBatch(t, l, level, threads)
		}
	}
}

// Of small planes tiles run along several images, which changes no bit.
func TestAlongImages(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	ps := pools(t)
	for _, c := range []struct {
		p       Params
		spatial []int
	}{
		{Params{In: 40, Out: 75, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Residual: true, Act: Activation{Kind: Silu}}, []int{2, 2}},
		{Params{In: 40, Out: 33, Kernel: []int{3, 3}, Pads: []int{1, 4, 1, 1}, Act: Activation{Kind: Relu}}, []int{1, 2}},
		{Params{In: 40, Out: 70, Kernel: []int{1, 1}, Residual: true}, []int{1, 1}},
		{Params{In: 64, Out: 64, Groups: 2, Kernel: []int{2, 2}, Stride: []int{2, 2}}, []int{4, 4}},
	} {
		all := newLayer(t, rng, c.p, c.spatial, 21)
		for _, level := range cpu.Levels() {
			plan, err := New(c.p, c.spatial, level)
			if err != nil {
				t.Fatal(err)
			}
			if plan.chunkImages(all.n) == 1 {
				t.Errorf("%v on %v: an image alone is a chunk", all, level)
			}
			for _, threads := range ps {
				testBatch(t, all, level, threads)
			}
		}
	}
}
