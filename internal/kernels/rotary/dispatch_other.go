//go:build !amd64 || noasm

package rotary

func turn(y, x, cos, sin []float32, heads int, interleaved bool) {
	portable(y, x, cos, sin, heads, interleaved)
}
