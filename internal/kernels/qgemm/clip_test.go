package qgemm

import (
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
)

// fewSpills makes B as a quantizer does: most pairs of its numbers fit, some do not.
func (p *problem) fewSpills() {
	for i := range p.b.Data {
		p.b.Data[i] = byte(int8(min(max(p.rng.NormFloat64()*38, -128), 127)))
		if !p.b.Signed {
			p.b.Data[i] ^= 128
		}
	}
}

// TestClipped has few pairs that VPMADDUBSW can't add up, the largest that it can, and more of
// the former than there is room for.
func TestClipped(t *testing.T) {
	const m, n, k = 37, 35, 130
	random := rand.New(rand.NewPCG(5, 6))
	for _, l := range cpu.Levels() {
		defer cpu.Force(l)()
		for _, rows := range []int{1, 2, 3, 16, 17, m} {
			for _, large := range []int{0, 1, 40, n * k} {
				p := newProblem(t, random, rows, n, k, nil)
				p.task.A.Signed, p.b.Signed, p.b.Trans, p.b.Stride = false, true, false, n
				p.b.Data = make([]byte, k*n)
				for i := range p.task.A.Data {
					p.task.A.Data[i] = 255
				}
				for i := range k / 2 * n {
					pair := [][2]int8{{64, 64}, {1, 127}, {-128, 0}, {-1, -127}, {127, -128}}[random.IntN(5)]
					row, col := 2*(i/n), i%n
					p.b.Data[row*n+col], p.b.Data[(row+1)*n+col] = byte(pair[0]), byte(pair[1])
				}
				for range large {
					pair := [][2]int8{{127, 127}, {2, 127}, {-128, -128}, {-128, -1}}[random.IntN(4)]
					row, col := 2*random.IntN(k/2), random.IntN(n)
					p.b.Data[row*n+col], p.b.Data[(row+1)*n+col] = byte(pair[0]), byte(pair[1])
				}
				p.zeroB = nil
				dst := make([]byte, PackedSize(k, n, 1))
				packed, err := PackB(dst, p.b, nil, k, n, 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				if pairs := current().pairs; pairs != nil && (packed.kern == pairs) != (large < n*k) {
					t.Errorf("%v: with %d large pairs B is clipped: %v", l, large, packed.kern == pairs)
				}
				for _, again := range []bool{false, true} {
					if p.task.Packed = packed; again {
						if p.task.Packed, err = Prepacked(dst, true, nil, k, n, 1); err != nil {
							t.Fatal(err)
						}
					}
					p.check(nil)
				}
			}
		}
	}
}

// TestSpillScratch has small matrices, of which all panels would fit a block many times.
func TestSpillScratch(t *testing.T) {
	const m, n = 32, 64
	for _, l := range cpu.Levels() {
		defer cpu.Force(l)()
		for _, k := range []int{2, 16, 64} {
			b := Matrix{Data: make([]byte, k*n), Signed: true, Stride: n}
			b.Data[0], b.Data[n] = 127, 127
			packed, err := PackB(make([]byte, PackedSize(k, n, 1)), b, nil, k, n, 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			x := Task{Product: Product{M: m, N: n, K: k, Packed: packed}}
			if got, most := x.ScratchSize(1), 4*m*n+1<<14; packed.spilled && got > most {
				t.Errorf("%v: a product of %d×%d×%d takes %d bytes of scratch, expected at most %d", l, m, n, k, got, most)
			}
		}
	}
}
