package norm

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/reduce"
)

func normRow(dst, src, gamma, beta []float32, mean, inv float32) {
	src, gamma, beta = src[:len(dst)], gamma[:len(dst)], beta[:len(dst)]
	for i, x := range src {
		dst[i] = float32(float32((x-mean)*inv)*gamma[i]) + beta[i]
	}
}

func normRowGamma(dst, src, gamma []float32, mean, inv float32) {
	src, gamma = src[:len(dst)], gamma[:len(dst)]
	for i, x := range src {
		dst[i] = float32((x-mean)*inv) * gamma[i]
	}
}

func normChannel(dst, src []float32, mean, inv, gamma, beta float32) {
	src = src[:len(dst)]
	for i, x := range src {
		dst[i] = float32(float32((x-mean)*inv)*gamma) + beta
	}
}

func blockedRow(dst, src, scale, shift []float32) {
	b := len(scale)
	src, shift = src[:len(dst)], shift[:b]
	for ; len(dst) >= b && b > 0; dst, src = dst[b:], src[b:] {
		for j, s := range scale {
			dst[j] = float32(src[j]*s) + shift[j]
		}
	}
}

// moments gives the mean and 1/√(variance+eps) of a row.
func moments(x []float32, eps float32) (mean, inv float32) {
	n := float32(len(x))
	mean = reduce.SumRow(x) / n
	return mean, inverse(reduce.SquareDiffRow(x, mean)/n, eps)
}

// inverse is 1/√(v+eps), each operation rounded.
func inverse(v, eps float32) float32 {
	return 1 / float32(math.Sqrt(float64(v+eps)))
}

// normalize is row with gamma and beta optional.
func normalize(dst, src, gamma, beta []float32, mean, inv float32) {
	k := current()
	src = src[:len(dst)]
	switch {
	case gamma == nil && beta == nil:
		k.channel(dst, src, mean, inv, 1, 0)
	case beta == nil:
		k.rowGamma(dst, src, gamma[:len(dst)], mean, inv)
	default:
		k.row(dst, src, gamma[:len(dst)], beta[:len(dst)], mean, inv)
	}
}
