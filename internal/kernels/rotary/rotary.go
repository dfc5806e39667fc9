// Package rotary turns pairs of numbers by angles, as rotary position embeddings do
// (RoPE, arXiv 2104.09864):
//
//	a' = a·cos - b·sin    b' = b·cos + a·sin
//
// Each product is rounded to float32 before the sum. All levels give the same bits.
package rotary

// Turn computes y of the heads of one token, of which x holds one after the other.
// The first 2·n of a head's numbers are pairs, where n is the number of cosines and of
// sines: number i and i+n, or 2·i and 2·i+1 if interleaved. The others stay. y may be x.
func Turn(y, x, cos, sin []float32, heads int, interleaved bool) {
	if heads == 0 || len(x) == 0 {
		return
	}
	n, width := len(cos), len(x)/heads
	y, sin = y[:heads*width], sin[:n]
	if 2*n < width && &x[0] != &y[0] {
		for at := 0; at < len(y); at += width {
			copy(y[at+2*n:at+width], x[at+2*n:])
		}
	}
	if n == 0 {
		return
	}
	_ = x[2*n-1 : width]
	turn(y, x, cos, sin, heads, interleaved)
}

func portable(y, x, cos, sin []float32, heads int, interleaved bool) {
	n, width := len(cos), len(x)/heads
	step, distance := 1, n // from pair to pair, and within one
	if interleaved {
		step, distance = 2, 1
	}
	for h := range heads {
		x, y := x[h*width:][:2*n], y[h*width:][:2*n]
		for i, c := range cos {
			j := i * step
			a, b := x[j], x[j+distance]
			y[j], y[j+distance] = float32(a*c)-float32(b*sin[i]), float32(b*c)+float32(a*sin[i])
		}
	}
}
