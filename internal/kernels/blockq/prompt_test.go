package blockq

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	bfloat "github.com/salver-ml/salver/internal/kernels/mma"
	"github.com/salver-ml/salver/internal/pool"
)

// decoded is a packed panel as prompts are multiplied by it: numbers in order, column
// after column.
func decoded(p *Packed, panel int) []uint16 {
	l := p.layout
	w := make([]uint16, cols*p.k)
	src := p.panel(panel)
	extra := make([]float32, 2*cols)
	for g := range p.k / groupSize {
		in := g % (l.unit() / groupSize)
		if in == 0 && g > 0 {
			src = src[l.unitBytes():]
		}
		header, group := src[:l.headerBytes()], src[l.headerBytes()+in*l.groupBytes():][:l.groupBytes()]
		for j := range cols {
			dw, factor := l.scales(header, group, j, extra)
			for k := range groupSize {
				c, h := float32(l.value(group[l.scaleBytes():], j, k)), k/16
				var v float32
				switch l.kind() {
				case plain, signed:
					v = c * dw
				case pair:
					v = c * (dw * extra[h*cols+j])
				case offset:
					v = fma(c, dw, extra[j])
				case twoOffsets:
					v = fma(c, dw*float32(factor[h]), extra[h*cols+j])
				}
				w[j*p.k+g*groupSize+k] = bfloat.Round(v)
			}
		}
	}
	return w
}

func widened(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// promptSum is the product of a rounded row of X and one of W.
func promptSum(x, w []uint16) (c float32) {
	for g := 0; g < len(x); g += groupSize {
		var even, odd float32
		for k := g; k < g+groupSize; k += 4 {
			for _, at := range []int{k, k + 1} {
				even = fma(widened(x[at]), widened(w[at]), even)
				odd = fma(widened(x[at+2]), widened(w[at+2]), odd)
			}
		}
		c += even + odd
	}
	return c
}

// promptReference is a product of prompt tokens.
func promptReference(p *Packed, x []float32, m int, bias, residual []float32) []float32 {
	rounded := make([]uint16, m*p.k)
	for i := range rounded {
		rounded[i] = bfloat.Round(x[i])
	}
	y := make([]float32, m*p.n)
	for j := range p.n {
		w := decoded(p, j/cols)[j%cols*p.k:][:p.k]
		for i := range m {
			v := promptSum(rounded[i*p.k:][:p.k], w)
			if bias != nil {
				v += bias[j]
			}
			if residual != nil {
				v += residual[i*p.n+j]
			}
			y[i*p.n+j] = v
		}
	}
	return y
}

// promptProduct runs a task over prompt tokens on guarded memory.
func promptTask(t testing.TB, p *Packed, x []float32, m, threads int, bias, residual []float32) []float32 {
	t.Helper()
	workers := pool.New(threads)
	defer workers.Close()
	y := kerneltest.Floats(t, m*p.n, nil)
	task := Task{Product: Product{M: m, N: p.n, K: p.k, X: x, StrideX: p.k, Packed: p, Y: y, StrideY: p.n, Bias: bias, Residual: residual, StrideR: p.n, Prompt: true}}
	task.Scratch = kerneltest.Guarded(t, task.ScratchSize(threads))
	if err := task.Run(workers); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(y)
}

func needPrompts(t *testing.T) {
	t.Helper()
	if current().prompts == nil {
		t.Skip("prompts have the arithmetic of all rows here")
	}
}

// TestPrompts compares the bits at odd sizes: with panels, tiles and groups that are
// missing, with rows of weights that several parts of K make, and on threads.
func TestPrompts(t *testing.T) {
	needPrompts(t)
	for _, f := range formats() {
		for _, s := range []struct{ m, n, k int }{{1, 1, 256}, {3, 16, 256}, {16, 17, 512}, {17, 33, 768}, {33, 48, 256}, {50, 70, 1280}} {
			t.Run(fmt.Sprintf("%v/%dx%dx%d", f, s.m, s.n, s.k), func(t *testing.T) {
				p := pack(t, f, s.n, s.k, randomRows(f, s.n, s.k, 7))
				x, bias, residual := noise(s.m*s.k, 1), noise(s.n, 2), noise(s.m*s.n, 3)
				want := promptReference(p, x, s.m, bias, residual)
				for _, threads := range []int{1, 3} {
					if got := promptTask(t, p, x, s.m, threads, bias, residual); !slices.Equal(got, want) {
						i := slices.IndexFunc(want, func(float32) bool { return true })
						for i < len(want) && got[i] == want[i] {
							i++
						}
						t.Fatalf("%d threads: element %d is %v, expected %v", threads, i, got[i], want[i])
					}
				}
			})
		}
	}
}

// TestPromptsOfSmallBlocks has rows of weights that fill no superblock.
func TestPromptsOfSmallBlocks(t *testing.T) {
	needPrompts(t)
	for _, k := range []int{32, 96, 352} {
		p := pack(t, block.Q4_0, 40, k, randomRows(block.Q4_0, 40, k, 7))
		x := noise(18*k, 1)
		if got, want := promptTask(t, p, x, 18, 1, nil, nil), promptReference(p, x, 18, nil, nil); !slices.Equal(got, want) {
			t.Errorf("K = %d: not the bits that are expected", k)
		}
	}
}

// TestPromptsInParts: rows, panels and K beyond what the second cache holds.
func TestPromptsInParts(t *testing.T) {
	needPrompts(t)
	const n, k, m = 70, 1536, 530
	p := pack(t, block.Q4_0, n, k, randomRows(block.Q4_0, n, k, 7))
	x := noise(m*k, 1)
	all := promptTask(t, p, x, m, 2, nil, nil)
	for _, i := range []int{0, 255, 256, 529} {
		if one := promptTask(t, p, x[i*k:], 1, 1, nil, nil); !slices.Equal(one, all[i*n:(i+1)*n]) {
			t.Errorf("row %d alone and among others has not the same bits", i)
		}
	}
}

// TestPromptsNearExact bounds what the rounding of both operands costs.
func TestPromptsNearExact(t *testing.T) {
	needPrompts(t)
	const n, k, m = 16, 2048, 16
	for _, f := range formats() {
		rows := randomRows(f, n, k, 7)
		w := make([]float32, n*k)
		block.Decode(f, w, rows)
		p, x := pack(t, f, n, k, rows), noise(m*k, 1)
		errors := func(y []float32) float64 {
			var e, s float64
			for i := range m {
				for j := range n {
					var sum float64
					for a, v := range x[i*k : (i+1)*k] {
						sum += float64(v) * float64(w[j*k+a])
					}
					d := float64(y[i*n+j]) - sum
					e, s = e+d*d, s+sum*sum
				}
			}
			return math.Sqrt(e / s)
		}
		prompt, other := errors(promptTask(t, p, x, m, 1, nil, nil)), errors(product(t, p, x, m, 1, nil, nil))
		t.Logf("%v: %.2g, of other rows %.2g", f, prompt, other)
		if prompt > 4e-3 || prompt > other {
			t.Errorf("%v: error %.2g, of other rows %.2g", f, prompt, other)
		}
	}
}

// TestPromptsStayApart: what is not finite stays in its row.
func TestPromptsStayApart(t *testing.T) {
	needPrompts(t)
	const n, k, m = 20, 256, 20
	p := pack(t, block.Q8_0, n, k, randomRows(block.Q8_0, n, k, 7))
	x := noise(m*k, 1)
	want := promptTask(t, p, x, m, 1, nil, nil)
	x[3*k+5] = float32(math.NaN())
	got := promptTask(t, p, x, m, 1, nil, nil)
	for i := range got {
		if nan := got[i] != got[i]; nan != (i/n == 3) || !nan && got[i] != want[i] {
			t.Fatalf("row %d has %v, expected %v", i/n, got[i], want[i])
		}
	}
}
