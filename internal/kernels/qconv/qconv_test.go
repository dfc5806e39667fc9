package qconv

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/qgemm"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

// layer is a convolution with operands.
type layer struct {
	Params
	n, h, w int
	x, z    []byte
	weights Weights
	want    []byte
}

func newLayer(t testing.TB, rng *rand.Rand, p Params, n, h, w int) *layer {
	t.Helper()
	l := &layer{Params: p, n: n, h: h, w: w}
	q, err := p.normalize()
	if err != nil {
		t.Fatal(err)
	}
	d, err := q.dims(h, w)
	if err != nil {
		t.Fatal(err)
	}
	l.x = random(rng, n*h*w*p.In)
	data := make([]int16, p.WeightCount())
	small := rng.IntN(2) == 0 // pairs fit
	for i := range data {
		if data[i] = int16(rng.IntN(256) - 128); small {
			data[i] = int16(rng.IntN(129) - 64)
			continue
		}
		if p.Parts > 1 {
			data[i] = int16(rng.IntN(511) - 255)
			continue
		}
		if rng.IntN(2) == 0 {
			data[i] = []int16{-128, 127}[rng.IntN(2)]
		}
	}
	if l.weights.Wide = data; p.Parts <= 1 {
		l.weights.Wide, l.weights.Data = nil, make([]int8, len(data))
		for i, v := range data {
			l.weights.Data[i] = int8(v)
		}
	}
	l.weights.Scale, l.weights.Bias = make([]float32, p.Out), make([]int32, p.Out)
	depth := float32(p.WeightCount() / p.Out)
	for i := range l.weights.Scale {
		l.weights.Scale[i] = (rng.Float32() + .1) / 200 / depth
		l.weights.Bias[i] = int32(rng.IntN(20000)) - 10000
	}
	out := n * d[0].Out * d[1].Out * p.Out
	if p.Residual != nil {
		l.z = random(rng, out)
	}
	l.want = make([]byte, out)
	if err := Reference(p, n, h, w, l.x, l.weights, l.z, l.want); err != nil {
		t.Fatal(err)
	}
	return l
}

// random makes bytes, many of them extreme.
func random(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.IntN(256))
		if rng.IntN(4) == 0 {
			b[i] = []byte{0, 127, 128, 255}[rng.IntN(4)]
		}
	}
	return b
}

// run computes the layer at a level with buffers that end or begin at guard pages.
func (l *layer) run(t testing.TB, level cpu.Target, p *pool.Pool, side guard.Side) []byte {
	t.Helper()
	plan, err := New(l.Params, l.h, l.w, level)
	if err != nil {
		t.Fatal(err)
	}
	packed := guard.Slice[byte](t, plan.PackedSize(), guard.Start)
	if err := plan.Pack(packed, l.weights); err != nil {
		t.Fatal(err)
	}
	op := Operands{N: l.n, In: guard.Copy(t, l.x, side), Packed: packed, Out: guard.Slice[byte](t, len(l.want), side), Scratch: guard.Slice[byte](t, plan.ScratchSize(p.Threads()), side)}
	if l.z != nil {
		op.Residual = guard.Copy(t, l.z, side)
	}
	r := plan.NewRunner()
	for range 2 {
		if err := r.Run(p, op); err != nil {
			t.Fatal(err)
		}
	}
	return op.Out
}

func (l *layer) check(t *testing.T, pools []*pool.Pool) {
	t.Helper()
	for _, level := range cpu.Levels() {
		for i, p := range pools {
			for _, side := range []guard.Side{guard.Start, guard.End} {
				got := l.run(t, level, p, side)
				if bytes.Equal(got, l.want) {
					continue
				}
				for j := range got {
					if got[j] != l.want[j] {
						t.Fatalf("%s, pool %d: %+v, %d×%d×%d: output %d is %d, want %d", level, i, l.Params, l.n, l.h, l.w, j, got[j], l.want[j])
					}
				}
			}
		}
	}
}

// TestPairsOfOppositeSigns has pairs of the largest weights, which fit 16 bits where their
// signs differ, and fit them no more where these are the same.
func TestPairsOfOppositeSigns(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, c := range []struct {
		pair [2]int8
		fits byte
	}{{[2]int8{127, -128}, 1}, {[2]int8{-128, 127}, 1}, {[2]int8{-128, 0}, 1}, {[2]int8{64, 64}, 1}, {[2]int8{65, 64}, 0}, {[2]int8{-64, -65}, 0}, {[2]int8{-128, -128}, 0}} {
		l := newLayer(t, rng, Params{In: 12, Out: 24, Kernel: []int{1, 1}, Hi: 255}, 1, 5, 9)
		for i := range l.weights.Data {
			l.weights.Data[i] = c.pair[i%2]
		}
		for i := range l.x {
			l.x[i] = byte(255 * (rng.IntN(3) & 1))
		}
		if err := Reference(l.Params, l.n, l.h, l.w, l.x, l.weights, nil, l.want); err != nil {
			t.Fatal(err)
		}
		l.check(t, []*pool.Pool{nil})
		plan, err := New(l.Params, l.h, l.w, cpu.AVX2)
		if err != nil {
			t.Fatal(err)
		}
		if packed := make([]byte, plan.PackedSize()); plan.packed.innerMayDo() {
			if err := plan.Pack(packed, l.weights); err != nil {
				t.Fatal(err)
			}
			if packed[0] != c.fits {
				t.Errorf("weights %v: pairs fit %d, expected %d", c.pair, packed[0], c.fits)
			}
		}
	}
}

func threads(t *testing.T) []*pool.Pool {
	p := pool.New(3)
	t.Cleanup(p.Close)
	return []*pool.Pool{nil, p}
}

func TestAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	u, s := Format{Zero: 113}, Format{Signed: true, Zero: -7}
	for _, c := range []struct {
		p       Params
		n, h, w int
	}{
		{Params{In: 3, Out: 20, Kernel: []int{7, 7}, Stride: []int{2, 2}, Pads: []int{3, 3, 3, 3}, Input: u}, 1, 15, 17},
		{Params{In: 64, Out: 64, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Input: u}, 2, 9, 14},
		{Params{In: 32, Out: 48, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Input: s}, 1, 7, 7},
		{Params{In: 16, Out: 33, Kernel: []int{3, 3}, Input: u}, 1, 9, 9},
		{Params{In: 16, Out: 65, Kernel: []int{1, 1}, Input: u}, 3, 5, 7},
		{Params{In: 5, Out: 7, Kernel: []int{1, 1}, Input: u}, 1, 3, 3},
		{Params{In: 8, Out: 16, Kernel: []int{1, 1}, Stride: []int{2, 2}, Input: u}, 2, 8, 9},
		{Params{In: 8, Out: 12, Kernel: []int{2, 3}, Dilation: []int{2, 2}, Pads: []int{0, 1, 1, 2}, Input: s}, 1, 9, 11},
		{Params{In: 12, Out: 18, Groups: 3, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Input: u}, 1, 6, 16},
		{Params{In: 6, Out: 6, Groups: 2, Kernel: []int{3, 1}, Pads: []int{1, 0, 1, 0}, Input: s}, 2, 6, 5},
		{Params{In: 37, Out: 37, Groups: 37, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Input: u}, 1, 13, 31},
		{Params{In: 32, Out: 32, Groups: 32, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Input: u}, 2, 14, 14},
		{Params{In: 19, Out: 19, Groups: 19, Kernel: []int{5, 3}, Input: s}, 1, 12, 9},
		{Params{In: 4, Out: 8, Groups: 4, Kernel: []int{3, 3}, Input: u}, 1, 5, 5},
		{Params{In: 5, Out: 34, Kernel: []int{3, 2}, Parts: 3, Pads: []int{1, 1, 1, 1}, Input: u}, 1, 7, 9},
		{Params{In: 8, Out: 9, Kernel: []int{1, 1}, Parts: 3, Input: u}, 2, 7, 9},
		{Params{In: 40, Out: 40, Groups: 40, Kernel: []int{3, 3}, Parts: 3, Input: u}, 1, 7, 9},
		{Params{In: 144, Out: 144, Groups: 144, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Input: s}, 1, 9, 11},
		{Params{In: 97, Out: 97, Groups: 97, Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 2}, Input: u}, 2, 8, 10},
		{Params{In: 64, Out: 64, Groups: 64, Kernel: []int{5, 5}, Stride: []int{2, 2}, Dilation: []int{2, 1}, Pads: []int{2, 2, 2, 2}, Input: u}, 1, 15, 13},
		{Params{In: 512, Out: 40, Kernel: []int{1, 1}, Input: u}, 1, 1, 1},
		{Params{In: 64, Out: 72, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Input: s}, 2, 13, 15},
		{Params{In: 128, Out: 32, Kernel: []int{1, 1}, Stride: []int{2, 2}, Input: u}, 1, 11, 66},
		{Params{In: 100, Out: 31, Kernel: []int{1, 1}, Input: s}, 2, 5, 13},
	} {
		for i, out := range []Format{{Zero: 120}, {Signed: true, Zero: 3}, {}} {
			c.p.Output = out
			c.p.Lo, c.p.Hi = out.limits()
			if i == 1 {
				c.p.Lo, c.p.Hi = -20, 90
			}
			c.p.Residual = nil
			t.Run(fmt.Sprintf("%d→%d/%d,%v,%d", c.p.In, c.p.Out, c.p.Groups, c.p.Kernel, i), func(t *testing.T) {
				pools := threads(t)
				newLayer(t, rng, c.p, c.n, c.h, c.w).check(t, pools)
				c.p.Residual = &Residual{Format: []Format{u, s, u}[i], Scale: .037, Mid: []Format{s, u, u}[i], MidLo: -100, MidHi: 100, MidScale: .021, OutScale: .0456}
				newLayer(t, rng, c.p, c.n, c.h, c.w).check(t, pools)
			})
		}
	}
}

// TestManyBlocks has inputs that take more than one block of a chunk, of inner products with
// AVX2 above all.
func TestManyBlocks(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	in := Format{Zero: 113}
	for _, p := range []Params{
		{In: 2048, Out: 24, Kernel: []int{1, 1}, Input: in},
		{In: 2050, Out: 18, Groups: 2, Kernel: []int{1, 1}, Input: Format{Signed: true, Zero: -7}},
		{In: 512, Out: 20, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Input: in},
		{In: 512, Out: 16, Groups: 2, Kernel: []int{3, 2}, Dilation: []int{2, 1}, Pads: []int{2, 0, 2, 1}, Input: in},
	} {
		p.Output, p.Hi = Format{Zero: 120}, 255
		newLayer(t, rng, p, 2, 21, 19).check(t, threads(t))
	}
}

// TestFewChunksTakeLittle: what many threads don't divide takes no memory for each of them.
func TestFewChunksTakeLittle(t *testing.T) {
	p := Params{In: 64, Out: 64, Kernel: []int{3, 3}, Stride: []int{2, 2}, Pads: []int{1, 1, 1, 1}, Hi: 255}
	for _, level := range cpu.Levels() {
		plan, err := New(p, 14, 14, level)
		if err != nil {
			t.Fatal(err)
		}
		if few, many := plan.ScratchSize(2), plan.ScratchSize(128); many > 2*few+plan.copyBytes(2) {
			t.Errorf("%v: scratch of %d bytes for 128 threads, of %d for 2", level, many, few)
		}
	}
}

// TestOneThreadNeedsNoMore: what is prepared for several threads runs on one, too.
func TestOneThreadNeedsNoMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, p := range []Params{
		{In: 64, Out: 8, Groups: 8, Kernel: []int{3, 5}, Stride: []int{3, 3}, Dilation: []int{1, 2}, Pads: []int{2, 4, 1, 8}, Hi: 255},
		{In: 2048, Out: 24, Kernel: []int{1, 1}, Hi: 255},
	} {
		l := newLayer(t, rng, p, 1, 29, 29)
		for _, level := range cpu.Levels() {
			plan, err := New(p, l.h, l.w, level)
			if err != nil {
				t.Fatal(err)
			}
			op := Operands{N: 1, In: l.x, Packed: make([]byte, plan.PackedSize()), Out: make([]byte, len(l.want)), Scratch: make([]byte, plan.ScratchSize(2))}
			if err := plan.Pack(op.Packed, l.weights); err != nil {
				t.Fatal(err)
			}
			if err := plan.NewRunner().Run(nil, op); err != nil {
				t.Errorf("%v: %v", level, err)
			} else if !bytes.Equal(op.Out, l.want) {
				t.Errorf("%v: the output differs", level)
			}
		}
	}
}

// TestScaleWithoutNumber: what is no number gives the least at all levels.
func TestScaleWithoutNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, p := range []Params{
		{In: 24, Out: 19, Kernel: []int{3, 3}},
		{In: 19, Out: 19, Groups: 19, Kernel: []int{3, 3}},
		{In: 24, Out: 19, Kernel: []int{1, 1}, Residual: &Residual{Scale: .03, Mid: Format{Zero: 128}, MidHi: 255, MidScale: .02, OutScale: .04}},
	} {
		p.Output, p.Hi = Format{Zero: 255}, 255
		l := newLayer(t, rng, p, 1, 7, 8)
		for i, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			l.weights.Scale[3*i] = float32(x)
		}
		if err := Reference(l.Params, l.n, l.h, l.w, l.x, l.weights, l.z, l.want); err != nil {
			t.Fatal(err)
		}
		l.check(t, threads(t))
	}
}

func TestOddSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	pools := threads(t)
	for i := range 150 {
		groups := []int{1, 1, 1, 2}[rng.IntN(4)]
		p := Params{In: groups * (1 + rng.IntN(20)), Out: groups * (1 + rng.IntN(40)), Groups: groups, Kernel: []int{1 + rng.IntN(3), 1 + rng.IntN(3)},
			Stride: []int{1 + rng.IntN(2), 1 + rng.IntN(2)}, Dilation: []int{1 + rng.IntN(2), 1 + rng.IntN(2)},
			Pads:  []int{rng.IntN(3), rng.IntN(3), rng.IntN(3), rng.IntN(3)},
			Input: Format{Signed: i%2 == 0, Zero: int32(rng.IntN(128))}, Output: Format{Zero: int32(rng.IntN(256))}, Hi: 255}
		if i%5 == 0 {
			p.Out, p.Groups = p.In, p.In
		}
		p.Tuning = Tuning{Split: Split(i % 3), Chunks: i % 4}
		newLayer(t, rng, p, 1+rng.IntN(2), 5+rng.IntN(12), 5+rng.IntN(60)).check(t, pools[i%2:][:1])
	}
}

// TestEveryWidth has rows of every number of pixels that a kernel takes, so that each kernel is
// called: of few columns and of many, of the weights that VPMADDUBSW bears and of others, depthwise
// in all its forms.
func TestEveryWidth(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	for w := 1; w <= maxPixels+1; w++ {
		for _, p := range []Params{
			{In: 9, Out: 12, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
			{In: 9, Out: 36, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
			{In: 72, Out: 72, Groups: 72, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}},
			{In: 72, Out: 72, Groups: 72, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 2}, Stride: []int{2, 2}},
			{In: 72, Out: 72, Groups: 72, Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 2}},
			{In: 72, Out: 72, Groups: 72, Kernel: []int{5, 5}, Pads: []int{2, 2, 2, 3}, Stride: []int{2, 2}},
			{In: 40, Out: 40, Groups: 40, Kernel: []int{2, 3}, Pads: []int{0, 1, 1, 1}},
		} {
			in := w
			if p.Stride != nil {
				in = 2*w - 1
			}
			p.Input, p.Output, p.Hi = Format{Zero: 113}, Format{Zero: 120}, 255
			for _, large := range []bool{false, true} {
				l := newLayer(t, rng, p, 1, 3, in)
				for i := range l.weights.Data {
					if l.weights.Data[i] = int8(rng.IntN(129) - 64); large {
						l.weights.Data[i] = int8(rng.IntN(256) - 128)
					}
				}
				if err := Reference(p, 1, 3, in, l.x, l.weights, nil, l.want); err != nil {
					t.Fatal(err)
				}
				l.check(t, []*pool.Pool{nil})
			}
		}
	}
}

func TestQuotientOfResidual(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		p := Params{In: 4, Out: 256, Kernel: []int{1, 1}, Output: Format{Zero: 99}, Hi: 255}
		p.Residual = &Residual{Scale: rng.Float32() + .01, Mid: Format{Zero: 128}, MidHi: 255, MidScale: rng.Float32() + .01, OutScale: rng.Float32() + .02}
		if rng.IntN(2) == 0 { // ties
			p.Residual.Scale, p.Residual.MidScale, p.Residual.OutScale = .1, .3, .2
		}
		newLayer(t, rng, p, 1, 9, 14).check(t, []*pool.Pool{nil})
	}
}

func TestHugeScales(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for _, groups := range []int{1, 80} {
		for _, scale := range []float32{1e9, 3e4, 1e-20} {
			p := Params{In: 80, Out: 80, Groups: groups, Kernel: []int{3, 3}, Output: Format{Signed: true, Zero: 127}, Lo: -128, Hi: 127}
			l := newLayer(t, rng, p, 1, 5, 9)
			l.weights.Scale = []float32{scale}
			if err := Reference(p, 1, 5, 9, l.x, l.weights, nil, l.want); err != nil {
				t.Fatal(err)
			}
			l.check(t, []*pool.Pool{nil})
		}
	}
}

func TestNoAllocation(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	l := newLayer(t, rng, Params{In: 16, Out: 32, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Hi: 255}, 2, 14, 14)
	plan, err := New(l.Params, l.h, l.w, cpu.Level())
	if err != nil {
		t.Fatal(err)
	}
	op := Operands{N: l.n, In: l.x, Packed: make([]byte, plan.PackedSize()), Out: make([]byte, len(l.want)), Scratch: make([]byte, plan.ScratchSize(3))}
	if err := plan.Pack(op.Packed, l.weights); err != nil {
		t.Fatal(err)
	}
	r, p := plan.NewRunner(), threads(t)[1]
	if n := testing.AllocsPerRun(10, func() { _ = r.Run(p, op) }); n > 0 {
		t.Errorf("%g allocations per run", n)
	}
}

func TestErrors(t *testing.T) {
	ok := Params{In: 4, Out: 4, Kernel: []int{3, 3}, Hi: 255}
	for _, f := range []func(p *Params){
		func(p *Params) { p.Kernel = []int{3} }, func(p *Params) { p.Groups = 3 }, func(p *Params) { p.Stride = []int{0, 1} },
		func(p *Params) { p.Hi = 256 }, func(p *Params) { p.Input.Zero = -1 }, func(p *Params) { p.Kernel = []int{9, 9} },
		func(p *Params) { p.Parts = 4 }, func(p *Params) { p.Parts, p.Groups = 2, 2 },
		func(p *Params) { p.Residual = &Residual{} }, func(p *Params) { p.In = 0 },
	} {
		p := ok
		f(&p)
		if _, err := New(p, 8, 8, cpu.Level()); err == nil {
			t.Errorf("%+v: no error", p)
		}
	}
	padded := ok
	padded.Pads, padded.Stride = []int{1 << 27, 1 << 27, 1 << 27, 1 << 27}, []int{1 << 20, 1 << 20}
	if _, err := New(padded, 8, 8, cpu.Level()); !errors.Is(err, ErrPadding) {
		t.Errorf("huge padding gives %v", err)
	}
	plan, err := New(ok, 8, 8, cpu.Level())
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.NewRunner().Run(nil, Operands{N: 1}); err == nil {
		t.Error("no error for empty buffers")
	}
	if err := plan.Pack(make([]byte, plan.PackedSize()), Weights{Scale: []float32{1}}); err == nil {
		t.Error("no error for missing weights")
	}
}

// The generated assembly reads a tile at these offsets (tools/asmgen/qconv.go).
func TestTileOffsets(t *testing.T) {
	var x tile
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.in), 0}, {unsafe.Offsetof(x.weights), 8}, {unsafe.Offsetof(x.out), 16}, {unsafe.Offsetof(x.residual), 24},
		{unsafe.Offsetof(x.bias), 32}, {unsafe.Offsetof(x.scale), 40}, {unsafe.Offsetof(x.kh), 48}, {unsafe.Offsetof(x.kw), 56},
		{unsafe.Offsetof(x.groups), 64}, {unsafe.Offsetof(x.inKH), 72}, {unsafe.Offsetof(x.inKW), 80}, {unsafe.Offsetof(x.inPx), 88},
		{unsafe.Offsetof(x.inFar), 96}, {unsafe.Offsetof(x.outPx), 104}, {unsafe.Offsetof(x.outFar), 112}, {unsafe.Offsetof(x.lines), 120},
		{unsafe.Offsetof(x.inLine), 128}, {unsafe.Offsetof(x.outLine), 136}, {unsafe.Offsetof(x.mask), 144}, {unsafe.Offsetof(x.lo), 152},
		{unsafe.Offsetof(x.hi), 156}, {unsafe.Offsetof(x.zero), 160}, {unsafe.Offsetof(x.midLo), 164}, {unsafe.Offsetof(x.midHi), 168},
		{unsafe.Offsetof(x.midScale), 172}, {unsafe.Offsetof(x.resZero), 176}, {unsafe.Offsetof(x.resScale), 180}, {unsafe.Offsetof(x.yScale), 184},
		{unsafe.Offsetof(x.yInverse), 188}, {unsafe.Offsetof(x.signed), 192}, {unsafe.Offsetof(x.zero16), 200}, {unsafe.Offsetof(x.flip), 202},
		{unsafe.Offsetof(x.lo8), 203}, {unsafe.Offsetof(x.hi8), 204},
		{unsafe.Offsetof(x.sums), 208}, {unsafe.Offsetof(x.sumLine), 216},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && c.got != c.want {
			t.Errorf("field %d is at %d, the assembly expects %d", i, c.got, c.want)
		}
	}
}

// The generated assembly reads a strip at these offsets (tools/asmgen/qconv_tiles.go).
func TestStripOffsets(t *testing.T) {
	var x strip
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.tile), 0}, {unsafe.Offsetof(x.config), 8}, {unsafe.Offsetof(x.in), 16}, {unsafe.Offsetof(x.out), 24},
		{unsafe.Offsetof(x.residual), 32}, {unsafe.Offsetof(x.panel), 40}, {unsafe.Offsetof(x.sums), 48}, {unsafe.Offsetof(x.offsets), 56},
		{unsafe.Offsetof(x.rows), 64}, {unsafe.Offsetof(x.pieces), 72}, {unsafe.Offsetof(x.next), 80}, {unsafe.Offsetof(x.lda), 88},
		{unsafe.Offsetof(x.far), 96}, {unsafe.Offsetof(x.steps), 104}, {unsafe.Offsetof(x.panels), 112}, {unsafe.Offsetof(x.panelBytes), 120},
		{unsafe.Offsetof(x.rowTiles), 128}, {unsafe.Offsetof(x.channels), 136}, {unsafe.Offsetof(x.nextRuns), 144},
		{unsafe.Sizeof(rowTile{}), 24}, {unsafe.Sizeof(piece{}), 16}, {unsafe.Sizeof(tileConfig{}), 64},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && c.got != c.want {
			t.Errorf("field or struct %d is at %d, the assembly expects %d", i, c.got, c.want)
		}
	}
}

// TestResidualInPlace adds to the buffer that holds the residual, which row tiles that
// overlap must not read again.
func TestResidualInPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for _, side := range []int{5, 9, 14, 15} {
		p := Params{In: 64, Out: 40, Kernel: []int{1, 1}, Output: Format{Zero: 99}, Hi: 255}
		p.Residual = &Residual{Scale: .03, Mid: Format{Zero: 128}, MidHi: 255, MidScale: .02, OutScale: .04}
		l := newLayer(t, rng, p, 1, side, side)
		for _, level := range cpu.Levels() {
			plan, err := New(p, side, side, level)
			if err != nil {
				t.Fatal(err)
			}
			op := Operands{N: 1, In: l.x, Packed: make([]byte, plan.PackedSize()), Out: bytes.Clone(l.z), Scratch: make([]byte, plan.ScratchSize(1))}
			op.Residual = op.Out
			if err := plan.Pack(op.Packed, l.weights); err != nil {
				t.Fatal(err)
			}
			if err := plan.NewRunner().Run(nil, op); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(op.Out, l.want) {
				t.Errorf("%v, %d×%d: not what a buffer of its own gives", level, side, side)
			}
		}
	}
}

func TestTuning(t *testing.T) {
	p := Params{In: 32, Out: 16, Kernel: []int{1, 1}, Hi: 255}
	for _, c := range []struct {
		t  Tuning
		ok bool
	}{{Tuning{}, true}, {Tuning{Split: Channels, Chunks: 3}, true}, {Tuning{Split: Channels + 1}, false}, {Tuning{Chunks: -1}, false}} {
		p.Tuning = c.t
		if _, err := New(p, 8, 8, cpu.Level()); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
	p.Tuning = Tuning{}
	for _, level := range cpu.Levels() {
		pl, err := New(p, 8, 8, level)
		if err != nil {
			t.Fatal(err)
		}
		if use := pl.TileUse(); pl.Tiles() && use != .25 {
			t.Errorf("32→16 channels use %v of tiles, expected half of a step and half of a panel", use)
		}
		for split, want := range []bool{false, false, true} {
			p.Tuning.Split = Split(split)
			if pl, _ := New(p, 8, 8, level); pl.byChannels(1) != want {
				t.Errorf("split %d: by channels is %v", split, pl.byChannels(1))
			}
		}
		p.Tuning = Tuning{}
	}
}

// TestClipped has 1×1 kernels of which few pairs of weights do not fit VPMADDUBSW.
func TestClipped(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	threads := pool.New(3)
	defer threads.Close()
	residual := &Residual{Format: Format{Zero: 7}, Scale: .5, Mid: Format{Zero: 3}, MidScale: 1, MidLo: 0, MidHi: 255, OutScale: .7}
	clipped := 0
	for i := range 40 {
		p := Params{In: 96 + 4*rng.IntN(60), Out: 1 + rng.IntN(70), Kernel: []int{1, 1}, Input: Format{Zero: 100, Signed: i%4 == 1}, Output: Format{Zero: 128}, Lo: 0, Hi: 255}
		if i%2 == 0 {
			p.Residual = residual
		}
		l := newLayer(t, rng, p, 1+rng.IntN(2), 1+rng.IntN(9), 1+rng.IntN(9))
		for j := range l.weights.Data {
			l.weights.Data[j] = int8(min(max(rng.NormFloat64()*35, -128), 127))
		}
		if err := Reference(p, l.n, l.h, l.w, l.x, l.weights, l.z, l.want); err != nil {
			t.Fatal(err)
		}
		l.check(t, []*pool.Pool{nil, threads})
		plan, err := New(p, l.h, l.w, cpu.AVX2)
		if err != nil {
			t.Fatal(err)
		}
		packed := make([]byte, plan.PackedSize())
		if err := plan.Pack(packed, l.weights); err != nil {
			t.Fatal(err)
		}
		if packed[0] == packedClipped {
			clipped++
		}
	}
	if plan, err := New(Params{In: 96, Out: 8, Kernel: []int{1, 1}, Hi: 255}, 1, 1, cpu.AVX2); err == nil && plan.kern.innerSums != nil && clipped < 20 {
		t.Errorf("the weights of %d of 40 layers are clipped", clipped)
	}
}

// TestClippedDepth has large pairs of weights of the last inputs of as many as may be clipped, and
// of more.
func TestClippedDepth(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for _, in := range []int{qgemm.MostClipK, qgemm.MostClipK + 4} {
		p := Params{In: in, Out: 3, Kernel: []int{1, 1}, Hi: 255}
		l := newLayer(t, rng, p, 1, 1, 2)
		clear(l.weights.Bias)
		for i := range l.weights.Data {
			if l.weights.Data[i] = 0; i%in >= in-4 {
				l.weights.Data[i] = 127
			}
		}
		for i := range l.x {
			if l.x[i] = 0; i%in >= in-4 {
				l.x[i] = byte(100 + i/in)
			}
		}
		for i := range l.weights.Scale {
			l.weights.Scale[i] = .004
		}
		if err := Reference(p, l.n, l.h, l.w, l.x, l.weights, l.z, l.want); err != nil {
			t.Fatal(err)
		}
		l.check(t, []*pool.Pool{nil})
	}
}
