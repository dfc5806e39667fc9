package gemm

import "fmt"

// Prepacked views data that PackB has filled before, at the current level and
// for the same sizes.
func Prepacked(data []float32, k, n, items int) (*Packed, error) {
	p := &Packed{kern: current(), k: k, n: n, items: items}
	need := items * p.itemSize()
	if len(data) < need {
		return nil, fmt.Errorf("gemm: %d packed items of %d×%d have %d elements, got %d", items, k, n, need, len(data))
	}
	p.data = data[:need:need]
	return p, nil
}
