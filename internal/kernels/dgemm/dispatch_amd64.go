//go:build !noasm

package dgemm

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . dgemm -out ../../internal/kernels/dgemm/tile_amd64.s

// highest is the level above which nothing changes.
const highest = cpu.AVX512

// columns is the width of a tile.
func columns(l cpu.Target) int {
	switch l {
	case cpu.AVX512:
		return 24
	case cpu.AVX2:
		return 12
	}
	return portableColumns
}

// multiply calls kernels by name, so that what tile has for sums stays on the stack.
func multiply(l cpu.Target, rows int, c, a, b []float64, ldc, lda, ldb, k int) {
	if l < cpu.AVX2 {
		multiplyPortable(rows, c, a, b, ldc, lda, ldb, k)
		return
	}
	_, _, _ = c[(rows-1)*ldc+columns(l)-1], a[(rows-1)*lda+k-1], b[(k-1)*ldb+columns(l)-1]
	switch wide := l == cpu.AVX512; {
	case wide && rows == 1:
		tile512x1(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	case wide && rows == 2:
		tile512x2(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	case wide && rows == 3:
		tile512x3(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	case wide:
		tile512x4(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	case rows == 1:
		tile256x1(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	case rows == 2:
		tile256x2(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	case rows == 3:
		tile256x3(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	default:
		tile256x4(&c[0], &a[0], &b[0], ldc, lda, ldb, k)
	}
}
