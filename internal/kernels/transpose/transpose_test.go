package transpose

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
	"github.com/salver-ml/salver/internal/mmap/guard"
	"github.com/salver-ml/salver/internal/pool"
)

var permCases = []struct{ shape, perm []int }{
	{[]int{}, []int{}},
	{[]int{7}, []int{0}},
	{[]int{3, 5}, []int{1, 0}},
	{[]int{33, 65}, []int{1, 0}},
	{[]int{130, 127}, []int{1, 0}},
	{[]int{2, 3, 4}, []int{0, 1, 2}},
	{[]int{2, 3, 4}, []int{2, 1, 0}},
	{[]int{2, 3, 50, 60}, []int{0, 2, 3, 1}},
	{[]int{2, 50, 60, 3}, []int{0, 3, 1, 2}},
	{[]int{2, 40, 12, 64}, []int{0, 2, 1, 3}},
	{[]int{2, 40, 12, 64}, []int{0, 2, 3, 1}},
	{[]int{5, 1, 6, 2}, []int{2, 1, 0, 3}},
	{[]int{3, 4, 5, 2, 2}, []int{1, 0, 3, 2, 4}},
	{[]int{2, 3, 2, 3, 2, 3}, []int{5, 0, 4, 1, 3, 2}},
	{[]int{1, 16, 17, 9}, []int{0, 2, 3, 1}},
	{[]int{4, 0, 3}, []int{2, 0, 1}},
	{[]int{100, 257}, []int{1, 0}},
	{[]int{2, 3, 1001}, []int{0, 2, 1}},
	{[]int{7, 2, 333}, []int{0, 2, 1}},
	{[]int{7, 333, 2}, []int{0, 2, 1}},
	{[]int{2, 1001, 3}, []int{0, 2, 1}},
	{[]int{4, 33, 35}, []int{1, 2, 0}},
	{[]int{33, 35, 4}, []int{2, 0, 1}},
	{[]int{33007, 3}, []int{1, 0}},
	{[]int{3, 33007}, []int{1, 0}},
}

// naive permutes element by element.
func naive(elem int, src []byte, shape, perm []int) []byte {
	strides := contiguous(shape)
	dst := make([]byte, len(src))
	idx := make([]int, len(shape))
	for o := range len(src) / elem {
		at := 0
		for i, a := range perm {
			at += idx[i] * strides[a]
		}
		copy(dst[o*elem:(o+1)*elem], src[at*elem:])
		for i := len(idx) - 1; i >= 0; i-- {
			if idx[i]++; idx[i] < shape[perm[i]] {
				break
			}
			idx[i] = 0
		}
	}
	return dst
}

func noise(t testing.TB, n int) []byte {
	b := kerneltest.Guarded(t, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func TestEveryPermutation(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range permCases {
			for _, elem := range []int{1, 2, 4, 8, 16} {
				n := elem
				for _, d := range c.shape {
					n *= d
				}
				src, dst := noise(t, n), kerneltest.Guarded(t, n)
				tr, err := New(elem, c.shape, c.perm)
				if err != nil {
					t.Fatal(err)
				}
				want := naive(elem, src, c.shape, c.perm)
				for _, pl := range []*pool.Pool{nil, p} {
					clear(dst)
					tr.Run(pl, dst, src)
					if string(dst) != string(want) {
						t.Errorf("%d bytes, %v by %v", elem, c.shape, c.perm)
					}
				}
			}
		}
	})
}

func TestRandomPermutations(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			rank := r.IntN(5) + 1
			shape, n := make([]int, rank), 4
			for i := range shape {
				shape[i] = r.IntN(20) + 1
				n *= shape[i]
			}
			if n > 1<<20 {
				continue
			}
			perm := r.Perm(rank)
			tr, err := New(4, shape, perm)
			if err != nil {
				t.Fatal(err)
			}
			src, dst := noise(t, n), kerneltest.Guarded(t, n)
			tr.Run(nil, dst, src)
			if string(dst) != string(naive(4, src, shape, perm)) {
				t.Fatalf("%v by %v", shape, perm)
			}
		}
	})
}

// Copies of more than the caches hold go another way.
func TestFarPermutations(t *testing.T) {
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, elem := range []int{1, 2, 4, 8, 16} {
			shape, perm := []int{2, 13, farBytes/(2*13*elem) + 7}, []int{0, 2, 1}
			n := elem * shape[0] * shape[1] * shape[2]
			src, dst := noise(t, n), kerneltest.Guarded(t, n)
			tr, err := New(elem, shape, perm)
			if err != nil {
				t.Fatal(err)
			}
			want := naive(elem, src, shape, perm)
			for _, pl := range []*pool.Pool{nil, p} {
				clear(dst)
				tr.Run(pl, dst, src)
				if !bytes.Equal(dst, want) {
					t.Errorf("%d bytes, %v by %v", elem, shape, perm)
				}
			}
		}
	})
}

func TestCopySlicesBackwards(t *testing.T) {
	src := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	c, err := NewCopy(1, []int{3}, []int{1}, []int{-2})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 3)
	c.Run(nil, dst, src, 0, 8)
	if fmt.Sprint(dst) != "[8 6 4]" {
		t.Error(dst)
	}
}

func TestCopyExpandsAndConcatenates(t *testing.T) {
	c, err := NewCopy(2, []int{2, 3, 2}, []int{10, 2, 1}, []int{1, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	src := []byte{1, 0, 2, 0}
	dst := make([]byte, 2*20)
	c.Run(nil, dst, src, 4, 0)
	for i := range 20 {
		var want byte
		switch {
		case i >= 4 && i < 10:
			want = 1
		case i >= 14:
			want = 2
		}
		if dst[2*i] != want {
			t.Fatalf("element %d of %v", i, dst)
		}
	}
}

func TestCopyOutOfBounds(t *testing.T) {
	c, err := NewCopy(4, []int{4}, []int{1}, []int{2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a copy beyond the source was let through")
		}
	}()
	c.Run(nil, make([]byte, 16), make([]byte, 24), 0, 0)
}

func TestRunDoesNotAllocate(t *testing.T) {
	tr, _ := New(4, []int{64, 64}, []int{1, 0})
	src, dst := make([]byte, 4*4096), make([]byte, 4*4096)
	if n := testing.AllocsPerRun(10, func() { tr.Run(nil, dst, src) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTranspose(b *testing.B) {
	for _, c := range []struct {
		elem        int
		shape, perm []int
	}{
		{4, []int{512, 512}, []int{1, 0}},
		{4, []int{1, 64, 56, 56}, []int{0, 2, 3, 1}},
		{4, []int{1, 128, 12, 64}, []int{0, 2, 1, 3}},
		{4, []int{1, 224, 224, 3}, []int{0, 3, 1, 2}},
		{1, []int{512, 512}, []int{1, 0}},
		{2, []int{512, 512}, []int{1, 0}},
		{8, []int{512, 512}, []int{1, 0}},
	} {
		for _, l := range cpu.Levels() {
			b.Run(fmt.Sprintf("%d/%v/%v/%v", c.elem, c.shape, c.perm, l), func(b *testing.B) {
				defer cpu.Force(l)()
				tr, err := New(c.elem, c.shape, c.perm)
				if err != nil {
					b.Fatal(err)
				}
				n := c.elem
				for _, d := range c.shape {
					n *= d
				}
				src, dst := make([]byte, n), make([]byte, n)
				b.SetBytes(int64(2 * n))
				for b.Loop() {
					tr.Run(nil, dst, src)
				}
			})
		}
	}
}

// Rows, repeated elements and elements apart of many sizes are copied up to the end of memory, and nothing beside them is written.
func TestCopyRowsOfAllSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := pool.New(3)
	defer p.Close()
	kerneltest.Levels(t, func(t *testing.T) {
		for _, elem := range []int{1, 2, 4, 8} {
			for round := range 400 {
				rows, n, apart, from := 1+rng.IntN(5), 1+rng.IntN(200), rng.IntN(7), rng.IntN(4)
				if round%8 == 0 {
					n += 2000
				}
				size := func(stride, row int) int { return elem * ((rows-1)*row + (n-1)*stride + 1) }
				srcRow, dstRow := n*from+rng.IntN(5), n+apart
				src, dst := kerneltest.Guarded(t, size(from, srcRow)), kerneltest.Guarded(t, size(1, dstRow))
				for i := range src {
					src[i] = byte(rng.IntN(255))
				}
				want := make([]byte, len(dst))
				for i := range dst {
					dst[i], want[i] = 255, 255
				}
				for r := range rows {
					for i := range n {
						copy(want[(r*dstRow+i)*elem:][:elem], src[(r*srcRow+i*from)*elem:])
					}
				}
				c, err := NewCopy(elem, []int{rows, n}, []int{dstRow, 1}, []int{srcRow, from})
				if err != nil {
					t.Fatal(err)
				}
				c.Run(p, dst, src, 0, 0)
				if string(dst) != string(want) {
					t.Fatalf("%d rows of %d elements of %d bytes, %d apart: differs", rows, n, elem, from)
				}
			}
		}
	})
}

func TestFill(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, size := range []int{1, 2, 3, 4, 8, 16, 24} {
			for n := range 40 {
				dst := kerneltest.Guarded(t, n*size*(1+n%3*7))
				value := make([]byte, size)
				for i := range value {
					value[i] = byte(i + 1)
				}
				Fill(dst, value)
				for i, b := range dst {
					if b != value[i%size] {
						t.Fatalf("byte %d of %d with values of %d bytes: %d", i, len(dst), size, b)
					}
				}
			}
		}
	})
}

func TestDouble(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, size := range []int{1, 2, 4, 8} {
			for n := range 40 {
				src := guard.Slice[byte](t, n*size, guard.End)
				for i := range src {
					src[i] = byte(i*7 + 3)
				}
				dst, again := guard.Slice[byte](t, 2*len(src), guard.End), guard.Slice[byte](t, 2*len(src), guard.End)
				Double(dst, again, src, size)
				for i := range dst {
					want := src[i/(2*size)*size+i%size]
					if dst[i] != want || again[i] != want {
						t.Fatalf("%d elements of %d bytes: byte %d is %d and %d, want %d", n, size, i, dst[i], again[i], want)
					}
				}
				clear(dst)
				if Double(dst, dst, src, size); string(dst) != string(again) {
					t.Fatalf("%d elements of %d bytes: one place has %v, want %v", n, size, dst, again)
				}
			}
		}
	})
}
