package dgemm

import "math"

// portableColumns is the width of a portable tile.
const portableColumns = 8

// multiplyPortable sets c, a tile, to the sums of some rows of a and a panel of b; rows are ldc, lda and ldb elements apart.
func multiplyPortable(rows int, c, a, b []float64, ldc, lda, ldb, k int) {
	for i := range rows {
		s := (*[portableColumns]float64)(c[i*ldc:])
		*s = [portableColumns]float64{}
		for k, x := range a[i*lda:][:k] {
			for j, y := range b[k*ldb:][:portableColumns] {
				s[j] = math.FMA(x, y, s[j])
			}
		}
	}
}

// multiplyVector sets c to the sums of a and columns of b, each of them len(a) elements next to each other, ldb apart.
// Four at a time, as the next addition waits for the last.
func multiplyVector(c, a, b []float64, ldb int) {
	for len(c) >= 4 {
		b0, b1, b2, b3 := b[:len(a)], b[ldb:][:len(a)], b[2*ldb:][:len(a)], b[3*ldb:][:len(a)]
		var s0, s1, s2, s3 float64
		for k, x := range a {
			s0 = math.FMA(x, b0[k], s0)
			s1 = math.FMA(x, b1[k], s1)
			s2 = math.FMA(x, b2[k], s2)
			s3 = math.FMA(x, b3[k], s3)
		}
		c[0], c[1], c[2], c[3] = s0, s1, s2, s3
		c, b = c[4:], b[min(4*ldb, len(b)):]
	}
	for j := range c {
		c[j] = 0
		for k, x := range a {
			c[j] = math.FMA(x, b[j*ldb+k], c[j])
		}
	}
}
