package dgemm

// packing is a product before it is computed: what isn't read where it is gets copied.
type packing Product

// packRows is the rows of A that are copied together: a cache line holds an element of each.
const packRows = 8

// packDeep is the rows of a panel that are copied together from a transposed B: they stay in the first cache.
const packDeep = 32

func (p *Product) rowParts() int {
	if p.directA {
		return 0
	}
	return len(p.FromA) * ((p.M + packRows - 1) / packRows)
}

// packs is the number of parts of that: rows of A, and panels of B.
func (p *Product) packs() int {
	n := p.rowParts()
	if !p.packed {
		n += len(p.FromB) * p.copied
	}
	return n
}

// Do copies one part; it is called by the pool.
func (q *packing) Do(part int) {
	p := (*Product)(q)
	if rows := p.rowParts(); part >= rows {
		p.packPanel(part - rows)
	} else {
		p.packRows(part)
	}
}

func (p *Product) packRows(part int) {
	parts := (p.M + packRows - 1) / packRows
	item, top := part/parts, part%parts*packRows
	n, dst := min(packRows, p.M-top), p.rowsA[(item*p.M+top)*p.K:]
	for k := range p.K {
		from := p.FromA[item] + top*p.A.Row + k*p.A.Col
		for i := range n {
			dst[i*p.K+k] = p.as[from+i*p.A.Row]
		}
	}
}

func (p *Product) packPanel(part int) {
	item, left := part/p.copied, (p.panels-p.copied+part%p.copied)*p.width
	n := min(p.width, p.N-left)
	from, dst := p.FromB[item]+left*p.B.Col, p.packedB[part*p.K*p.width:][:p.K*p.width]
	if p.B.Col == 1 {
		for k := range p.K {
			row := dst[k*p.width:][:p.width]
			clear(row[copy(row, p.bs[from+k*p.B.Row:][:n]):])
		}
		return
	}
	if n < p.width {
		clear(dst)
	}
	for top := 0; top < p.K; top += packDeep {
		deep := min(packDeep, p.K-top)
		for j := range n {
			src, at := p.bs[from+top*p.B.Row+j*p.B.Col:], top*p.width+j
			for k := range deep {
				dst[at] = src[k*p.B.Row]
				at += p.width
			}
		}
	}
}
