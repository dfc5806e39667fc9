package qconv

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

func TestSquares(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	pools := threads(t)
	pad := []int{1, 1, 1, 1}
	u, s := Format{Zero: 113}, Format{Signed: true, Zero: -7}
	for i, c := range []struct {
		p       Params
		n, h, w int
	}{
		{Params{In: 32, Out: 16, Kernel: []int{3, 3}, Pads: pad, Input: u}, 1, 16, 28},
		{Params{In: 32, Out: 48, Kernel: []int{3, 3}, Pads: pad, Input: s}, 2, 27, 37},
		{Params{In: 48, Out: 16, Kernel: []int{3, 3}, Pads: []int{2, 0, 1, 3}, Input: u}, 1, 13, 17},
		{Params{In: 64, Out: 32, Kernel: []int{3, 3}, Input: u}, 1, 30, 40},
		{Params{In: 64, Out: 32, Kernel: []int{3, 3}, Pads: pad, Input: u}, 1, 20, 43},
		{Params{In: 16, Out: 16, Kernel: []int{3, 3}, Pads: pad, Input: s}, 1, 12, 290}, // a row has more tiles than a block
	} {
		c.p.Hi = 255
		if i == 1 {
			c.p.Output, c.p.Lo, c.p.Hi = Format{Signed: true, Zero: 3}, -128, 127
		}
		newLayer(t, rng, c.p, c.n, c.h, c.w).check(t, pools)
		c.p.Residual = &Residual{Format: u, Scale: .037, Mid: s, MidLo: -100, MidHi: 100, MidScale: .021, OutScale: .0456}
		newLayer(t, rng, c.p, c.n, c.h, c.w).check(t, pools)
	}
}

// TestSquareProducts has lines of every number of tiles: layers of so few tiles are computed directly.
func TestSquareProducts(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	for _, level := range cpu.Levels() {
		kern := forLevel(level).squares
		if kern == nil {
			continue
		}
		s := &squares{squareKernels: kern, in: 32}
		for n := 1; n <= 2*s.most+1; n++ {
			a, b := make([]int16, n*s.in), make([]int16, s.in*squareColumns)
			for i := range a {
				a[i] = int16(rng.IntN(25600) - 12800)
			}
			for i := range b {
				b[i] = int16(rng.IntN(12544) - 6272)
			}
			got := guard.Slice[int32](t, n*squareColumns, guard.End)
			s.multiply(&squareTile{}, viewBytes(a), viewBytes(b), viewBytes(got), n)
			for i, g := range got {
				var want int32
				for c := range s.in {
					want += int32(a[i/squareColumns*s.in+c]) * int32(b[c/2*2*squareColumns+i%squareColumns*2+c%2])
				}
				if g != want {
					t.Fatalf("%s, %d tiles: sum %d is %d, want %d", level, n, i, g, want)
				}
			}
		}
	}
}

func viewBytes[T int16 | int32](x []T) []byte {
	return view[byte](unsafe.Pointer(&x[0]), len(x)*int(unsafe.Sizeof(x[0])))
}

// TestSquaresOnManyThreads has few tiles for each thread: fewer panels than threads, and more
// tiles than are computed together. Working memory doesn't grow with the product of both.
func TestSquaresOnManyThreads(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 26))
	pad := []int{1, 1, 1, 1}
	for _, c := range []struct{ in, out, h, w, threads int }{{32, 16, 28, 30, 16}, {32, 48, 30, 29, 5}, {32, 64, 36, 40, 4}, {32, 32, 45, 45, 7}} {
		p := pool.New(c.threads)
		defer p.Close()
		newLayer(t, rng, Params{In: c.in, Out: c.out, Kernel: []int{3, 3}, Pads: pad, Hi: 255}, 1, c.h, c.w).check(t, []*pool.Pool{p})
	}
	plan, err := New(Params{In: 64, Out: 512, Kernel: []int{3, 3}, Pads: pad, Hi: 255}, 140, 140, cpu.AVX2)
	if err != nil {
		t.Fatal(err)
	}
	if n := plan.ScratchSize(64); n > 64<<20 {
		t.Errorf("64 threads need %d bytes", n)
	}
}

// TestSquaresOfLargeWeights has the largest magnitudes of all, of one sign and of both: the
// bounds of words and of sums.
func TestSquaresOfLargeWeights(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for _, in := range []int{224, 240} { // 224·9·128 is below what sums bear
		for _, sign := range []int{1, 2} {
			p := Params{In: in, Out: 16, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Hi: 255}
			l := newLayer(t, rng, p, 1, 13, 16)
			for i := range l.weights.Data {
				l.weights.Data[i] = []int8{-128, 127}[rng.IntN(2)*(sign-1)]
			}
			for i := range l.x {
				l.x[i] = byte(255 * rng.IntN(2) * (sign - 1))
			}
			for i := range l.weights.Scale {
				l.weights.Scale[i], l.weights.Bias[i] = 255/float32(255*128*9*in), 128
			}
			if err := Reference(l.Params, l.n, l.h, l.w, l.x, l.weights, nil, l.want); err != nil {
				t.Fatal(err)
			}
			for _, level := range cpu.Levels() {
				if got := l.run(t, level, nil, guard.End); !bytes.Equal(got, l.want) {
					t.Errorf("%s, %d channels, weights %d: other results than the reference", level, in, sign)
				}
			}
			plan, err := New(p, l.h, l.w, cpu.AVX2)
			if err != nil {
				t.Fatal(err)
			}
			if plan.squares == nil {
				continue
			}
			packed := make([]byte, plan.PackedSize())
			if err := plan.Pack(packed, l.weights); err != nil {
				t.Fatal(err)
			}
			if fits := packed[0] == packedSquares; fits != (in == 224) {
				t.Errorf("%d channels of the largest weights: in squares is %v", in, fits)
			}
		}
	}
}

func BenchmarkPackSquares(b *testing.B) {
	p := Params{In: 256, Out: 256, Kernel: []int{3, 3}, Pads: []int{1, 1, 1, 1}, Hi: 255}
	plan, err := New(p, 14, 14, cpu.Level())
	if err != nil {
		b.Fatal(err)
	}
	dst, w := make([]byte, plan.PackedSize()), Weights{Data: make([]int8, p.WeightCount()), Scale: []float32{1}}
	b.SetBytes(int64(p.WeightCount()))
	for b.Loop() {
		if err := plan.Pack(dst, w); err != nil {
			b.Fatal(err)
		}
	}
}
