package op

import "github.com/salver-ml/salver/internal/tensor"

// Align rounds a number of bytes up to a whole number of cache lines.
func Align(n int) int { return (n + tensor.Align - 1) &^ (tensor.Align - 1) }

// Memory is scratch memory that is handed out in pieces, each at a cache line:
// n bytes take Align(n).
type Memory []byte

// Take hands out n bytes.
func (m *Memory) Take(n int) []byte {
	b := (*m)[:n]
	*m = (*m)[min(Align(n), len(*m)):]
	return b
}

// Floats hands out n floats.
func (m *Memory) Floats(n int) []float32 { return tensor.View[float32](m.Take(4 * n)) }

// FloatBytes is the memory of pieces of so many floats.
func FloatBytes(pieces ...int) int {
	bytes := 0
	for _, n := range pieces {
		bytes += Align(4 * n)
	}
	return bytes
}
