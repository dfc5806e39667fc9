//go:build !amd64 || noasm

package blend

func rows(dst, src *float32, offsets *int, weights *float32, taps, n int) {
	portable(dst, src, offsets, weights, taps, n)
}
