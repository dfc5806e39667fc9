package elemwise

import (
	"math"
	"slices"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/pool"
)

// gate is a chain with every kind of operand: relu(where(c, tanh(a)·b, s)) + tanh(a).
func gate() []Instruction {
	return []Instruction{
		{UnaryRow(Tanh, Params{}), []int{0}},
		{BinaryRow(Mul), []int{4, 1}},
		{SelectRow, []int{2, 5, 3}},
		{UnaryRow(Relu, Params{}), []int{6}},
		{BinaryRow(Add), []int{7, 4}},
		{ClipRow(), []int{8, -1, 3}},
	}
}

func oneByOne(dst, a, b, s []float32, c []bool, at func(i int) (a, b, c, s int)) {
	for i := range dst {
		ai, bi, ci, si := at(i)
		var t, u [1]float32
		Float32(Tanh)(t[:], a[ai:ai+1], Params{})
		Row(Mul)(u[:], t[:], b[bi:bi+1], 1, 1)
		if !c[ci] {
			u[0] = s[si]
		}
		Float32(Relu)(u[:], u[:], Params{})
		Row(Add)(u[:], u[:], t[:], 1, 1)
		Float32(Clip)(dst[i:i+1], u[:], Params{A: float32(math.Inf(-1)), B: s[si]})
	}
}

func noise(t testing.TB, n int) []float32 {
	return kerneltest.Floats(t, n, func(i int) float32 { return float32((i*7919)%1009)/200 - 2.5 })
}

// A sweep has the bits of its functions one by one, for all shapes, on any number of threads.
func TestSweep(t *testing.T) {
	types := []dtype.Type{dtype.Float32, dtype.Float32, dtype.Bool, dtype.Float32}
	threads := pool.New(3)
	defer threads.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, s := range [][3]int{{1, 1, 1}, {1, 1, 65}, {2, 3, 7}, {40, 300, 2}, {3, 5000, 1}, {5, 1, 4099}, {3, 700, 33}, {1, 9, 5000}} {
			n := s[0] * s[1] * s[2]
			a, b, c := noise(t, n), noise(t, s[1]*s[2]), make([]bool, s[0]*s[2])
			for i := range c {
				c[i] = i%3 > 0
			}
			k, err := NewSweep(gate(), types, [][]int{s[:], s[1:], {s[0], 1, s[2]}, {}})
			if err != nil {
				t.Fatal(err)
			}
			limit, want := []float32{1.5}, make([]float32, n)
			oneByOne(want, a, b, limit, c, func(i int) (int, int, int, int) {
				return i, i % (s[1] * s[2]), i/(s[1]*s[2])*s[2] + i%s[2], 0
			})
			for _, p := range []*pool.Pool{nil, threads} {
				p.Begin()
				for _, dst := range [][]float32{noise(t, n), slices.Clone(a)} {
					in := [][]byte{bytesOf(a), bytesOf(b), bytesOf(c), bytesOf(limit)}
					if len(dst) > 1 && dst[1] == a[1] {
						in[0] = bytesOf(dst) // in place
					}
					k.Run(p, dst, in, make([]float32, k.ScratchSize(p.Threads())))
					for i := range want {
						if !kerneltest.Same(dst[i], want[i]) {
							t.Fatalf("%v: element %d is %v, one by one %v", s, i, dst[i], want[i])
						}
					}
				}
				p.End()
			}
		}
	})
}

func TestSweepRefuses(t *testing.T) {
	add := []Instruction{{BinaryRow(Add), []int{0, 1}}}
	two := []dtype.Type{dtype.Float32, dtype.Float32}
	for name, err := range map[string]error{
		"shapes":  second(NewSweep(add, two, [][]int{{2}, {3}})),
		"types":   second(NewSweep(add, []dtype.Type{dtype.Float32, dtype.Int8}, [][]int{{2}, {2}})),
		"nothing": second(NewSweep(nil, two, [][]int{{2}, {2}})),
		"ahead":   second(NewSweep([]Instruction{{UnaryRow(Neg, Params{}), []int{2}}}, two, [][]int{{2}, {2}})),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestSweepAllocatesNothing(t *testing.T) {
	const n = 70000
	a, out := noise(t, n), make([]float32, n)
	k, err := NewSweep([]Instruction{{UnaryRow(Exp, Params{}), []int{0}}, {BinaryRow(Add), []int{1, 0}}}, []dtype.Type{dtype.Float32}, [][]int{{n}})
	if err != nil {
		t.Fatal(err)
	}
	in, scratch := [][]byte{bytesOf(a)}, make([]float32, k.ScratchSize(1))
	k.Run(nil, out, in, scratch)
	if got := testing.AllocsPerRun(5, func() { k.Run(nil, out, in, scratch) }); got > 0 {
		t.Errorf("%v allocations a run", got)
	}
}

// BenchmarkSweep compares a chain of a product and a sum outside the second cache with
// one after the other.
func BenchmarkSweep(b *testing.B) {
	const n = 16 << 20
	x, scale, shift, out := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	in := [][]byte{bytesOf(x), bytesOf(scale), bytesOf(shift)}
	b.Run("sweep", func(b *testing.B) {
		types := []dtype.Type{dtype.Float32, dtype.Float32, dtype.Float32}
		k, err := NewSweep([]Instruction{{BinaryRow(Mul), []int{0, 1}}, {BinaryRow(Add), []int{3, 2}}}, types, [][]int{{n}, {n}, {n}})
		if err != nil {
			b.Fatal(err)
		}
		scratch := make([]float32, k.ScratchSize(1))
		b.SetBytes(16 * n)
		for b.Loop() {
			k.Run(nil, out, in, scratch)
		}
	})
	b.Run("one by one", func(b *testing.B) {
		product, _ := NewBinary(Mul, dtype.Float32, []int{n}, []int{n})
		sum, _ := NewBinary(Add, dtype.Float32, []int{n}, []int{n})
		t := bytesOf(make([]float32, n))
		b.SetBytes(16 * n)
		for b.Loop() {
			product.Run(nil, t, in[0], in[1])
			sum.Run(nil, bytesOf(out), t, in[2])
		}
	})
}
