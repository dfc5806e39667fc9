//go:build !noasm

package paged

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

//go:generate sh -c "cd ../../../tools/asmgen && go run . paged -out ../../internal/kernels/paged/paged_amd64.s"

// current is the table of the level in force.
func current() *kernels {
	switch l := cpu.Level(); {
	case l >= cpu.AVX512:
		return &avx512
	case l >= cpu.AVX2:
		return &avx2
	}
	return &portable
}

var (
	avx2 = kernels{
		score32: scores(4, score32x1AVX2, score32x2AVX2, score32x4AVX2, nil), score16: scores(4, score16x1AVX2, score16x2AVX2, score16x4AVX2, nil),
		many32: manyScores(scoreMany32x1AVX2, scoreMany32x2AVX2), many16: manyScores(scoreMany16x1AVX2, scoreMany16x2AVX2), together: 2,
		sum32: sums(4, sum[float32], sum32x1AVX2, sum32x2AVX2, sum32x4AVX2, nil), sum16: sums(4, sum[uint16], sum16x1AVX2, sum16x2AVX2, sum16x4AVX2, nil),
	}
	avx512 = kernels{
		score32: scores(8, score32x1AVX512, score32x2AVX512, score32x4AVX512, score32x8AVX512), score16: scores(8, score16x1AVX512, score16x2AVX512, score16x4AVX512, score16x8AVX512),
		many32: manyScores(scoreMany32x1AVX512, scoreMany32x2AVX512), many16: manyScores(scoreMany16x1AVX512, scoreMany16x2AVX512), together: 4,
		sum32: sums(8, sum[float32], sum32x1AVX512, sum32x2AVX512, sum32x4AVX512, sum32x8AVX512), sum16: sums(8, sum[uint16], sum16x1AVX512, sum16x2AVX512, sum16x4AVX512, sum16x8AVX512),
	}
)

type (
	scoreRows func(dst, q *float32, block *byte, d int, scale float32)
	manyRows  func(dst, q *float32, blocks *uintptr, d int, scale float32)
	sumRows   func(o, p *float32, block *byte, d, n int)
)

// step is how many of n rows the next call takes: a power of two.
func step(n, most int) int {
	for most > n {
		most /= 2
	}
	return most
}

// scores makes a scoreFunc of kernels for 1, 2, 4 and 8 rows, the largest for most.
func scores(most int, k1, k2, k4, k8 scoreRows) scoreFunc {
	by := [9]scoreRows{1: k1, 2: k2, 4: k4, 8: k8}
	return func(dst, q []float32, block []byte, d int, scale float32) {
		for left := len(q) / d; left > 0; {
			n := step(left, most)
			by[n](&dst[0], &q[0], unsafe.SliceData(block), d, scale)
			if left -= n; left > 0 {
				dst, q = dst[n*TileTokens:], q[n*d:]
			}
		}
	}
}

// manyScores makes a manyFunc of kernels for 1 and 2 rows.
func manyScores(k1, k2 manyRows) manyFunc {
	return func(dst, q []float32, blocks *uintptr, d int, scale float32) {
		rows := len(q) / d
		if rows > 1 {
			k2(&dst[0], &q[0], blocks, d, scale)
		}
		if last := rows - 1; rows != 2 {
			k1(&dst[last*TileTokens], &q[last*d], blocks, d, scale)
		}
	}
}

// sums makes a sumFunc. The kernels take heads of a multiple of 8 elements;
// others are portable.
func sums(most int, other sumFunc, k1, k2, k4, k8 sumRows) sumFunc {
	by := [9]sumRows{1: k1, 2: k2, 4: k4, 8: k8}
	return func(o, p []float32, block []byte, d, n int) {
		if d%8 != 0 {
			other(o, p, block, d, n)
			return
		}
		for left := len(o) / d; left > 0; {
			rows := step(left, most)
			by[rows](&o[0], &p[0], unsafe.SliceData(block), d, n)
			if left -= rows; left > 0 {
				o, p = o[rows*d:], p[rows*TileTokens:]
			}
		}
	}
}
