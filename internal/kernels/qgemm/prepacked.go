package qgemm

import "fmt"

// Prepacked views data that PackB has filled before from the same matrices at
// the current level; only the sums of the columns are computed anew.
func Prepacked(data []byte, b Matrix, zero []int32, k, n, items, step int) (*Packed, error) {
	p := &Packed{kern: current(), k: k, n: n, items: items}
	need := items * packedItem(p.kern, k, n)
	if len(data) < need {
		return nil, fmt.Errorf("qgemm: %d packed items of %d×%d have %d bytes, got %d", items, k, n, need, len(data))
	}
	p.data = data[:need:need]
	p.sums(&b, zero)
	flip := byte(0)
	if !b.Signed {
		flip = 0x80
	}
	for i := range items {
		for row := range k {
			for col := range n {
				at := i*step + row*b.Stride + col
				if b.Trans {
					at = i*step + col*b.Stride + row
				}
				p.colSum[i*n+col] += int32(int8(b.Data[at] ^ flip))
			}
		}
	}
	p.finishSums()
	return p, nil
}
