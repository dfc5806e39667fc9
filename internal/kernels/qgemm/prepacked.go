package qgemm

import (
	"fmt"
)

// Prepacked views data that PackB has filled before at the current level, from
// matrices whose numbers were signed or not; only the sums of the columns are
// computed anew.
func Prepacked(data []byte, signed bool, zero []int32, k, n, items int) (*Packed, error) {
	if err := checkZero(zero, n, items); err != nil {
		return nil, err
	}
	p := &Packed{kern: current(), k: k, n: n, items: items}
	need := items * packedItem(p.kern, k, n)
	if len(data) < need {
		return nil, fmt.Errorf("qgemm: %d packed items of %d×%d have %d bytes, got %d", items, k, n, need, len(data))
	}
	p.data = data[:need:need]
	if pairs := p.kern.pairs; pairs != nil && items > 0 && p.starts(0)[0] != notClipped {
		p.kern = pairs
	}
	p.sums(signed, zero)
	for i := range items {
		p.addColumns(i)
	}
	p.finishSums()
	return p, nil
}

// addColumns adds up the packed columns of an item.
func (p *Packed) addColumns(item int) {
	nr, group := p.kern.nr, p.kern.group
	size := packedItem(p.kern, p.k, p.n)
	data, sums := p.data[item*size:][:size], p.colSum[item*p.n:][:p.n]
	panel := p.kern.depth(p.k) * nr
	if p.kern.evens != nil {
		p.spilled = p.spilled || p.starts(item)[p.n] > 0
		p.spillSums(item, sums)
	}
	flip, inner := byte(0), []int32(nil)
	if p.kern.innerSum != nil { // as panelPacker.put has it
		flip, inner = 0x80, p.colInner[item*p.n:][:p.n]
	}
	for j := 0; j < p.n && panel > 0; j += nr {
		columns := sums[j:min(j+nr, p.n)]
		for at := j / nr * panel; at < (j/nr+1)*panel; at += nr * group {
			row := data[at:][:nr*group]
			for c := range columns {
				g := row[c*group:][:group]
				for _, x := range g {
					columns[c] += int32(int8(x ^ flip))
				}
				if flip != 0 {
					inner[j+c] -= int32(int8(g[0]^flip))*int32(int8(g[1]^flip)) + int32(int8(g[2]^flip))*int32(int8(g[3]^flip))
				}
			}
		}
	}
}
