//go:build !amd64 || noasm

package dgemm

import "github.com/salver-ml/salver/internal/cpu"

const highest = cpu.Generic

func columns(cpu.Target) int { return portableColumns }

func multiply(_ cpu.Target, rows int, c, a, b []float64, ldc, lda, ldb, k int) {
	multiplyPortable(rows, c, a, b, ldc, lda, ldb, k)
}
