// Package dgemm multiplies matrices of float64.
//
// # Arithmetic
//
// A sum is one chain of fused multiply-adds over k in order, from +0, at every
// instruction-set level: C = Alpha·sum + Beta·addend, each of these operations rounded.
package dgemm

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/pool"
)

// Strides says where the element of row i and column j is: at i·Row + j·Col.
type Strides struct{ Row, Col int }

func (s Strides) transposed() Strides { return Strides{s.Col, s.Row} }

// Product is Alpha·A·B + Beta·addend for each of the matrices that begin at FromA and FromB,
// with M×K and K×N elements. The results follow each other, row by row.
type Product struct {
	M, N, K      int
	A, B         Strides
	FromA, FromB []int
	Alpha, Beta  float64
	Addend       Strides // of what is added to every result

	c       Strides
	few     bool // columns, so that B had better stay as it is
	swapped bool // the transpose is computed: roles of A and B are exchanged in all of the above
	level   cpu.Target
	width   int // columns of a tile
	panels  int
	plain   bool // results are the sums, row by row
	directA bool // rows are read where they are
	chains  bool // columns of B are read where they are, one element after the other
	copied  int  // panels of B that are copied, the last ones; rows of others are read where they are too
	group   int  // panels of a unit of work

	cs, as, bs, addend []float64
	rowsA, packedB     []float64
	packed             bool // B is, once and for all
}

// A tile is up to tileRows×width elements of a result, a unit of work up to blockRows rows of
// some panels, which are width columns.
const (
	tileRows   = 4
	widest     = 24
	blockRows  = 32
	directRows = 8       // up to which whole panels of B aren't copied, or eight times as many of a small B
	chainRows  = 3       // up to which a transposed B isn't copied
	directB    = 1 << 14 // elements of that
	unitWork   = 1 << 17 // multiply-adds, about: what is worth another thread
)

// Prepare is to be called once, before the other methods.
func (p *Product) Prepare() error {
	if p.M < 0 || p.N < 0 || p.K < 0 || len(p.FromA) != len(p.FromB) {
		return fmt.Errorf("dgemm: %d products with %d of %d×%d and %d×%d elements", len(p.FromA), len(p.FromB), p.M, p.K, p.K, p.N)
	}
	p.level = min(cpu.Level(), highest)
	p.width = columns(p.level)
	p.c = Strides{p.N, 1}
	p.few = p.N < p.width
	if p.few && p.M > p.N { // most of a tile would be unused
		p.swapped = true
		p.M, p.N, p.A, p.B = p.N, p.M, p.B.transposed(), p.A.transposed()
		p.FromA, p.FromB = p.FromB, p.FromA
		p.c, p.Addend = p.c.transposed(), p.Addend.transposed()
	}
	p.panels = (p.N + p.width - 1) / p.width
	p.directA = p.A.Col == 1 || p.K <= 1
	p.copied = p.panels
	if p.B.Col == 1 && (p.M <= directRows || p.M <= 8*directRows && p.K*p.B.Row <= directB) {
		p.copied -= p.N / p.width
	}
	if p.chains = p.swapped && p.M <= chainRows && p.B.Row == 1; p.chains {
		p.copied = 0
	}
	p.group = max(1, min(p.panels, unitWork/max(1, min(p.M, blockRows)*p.width*p.K)))
	return nil
}

// PackedSize is the number of elements of B as Pack leaves it, or 0 where Run had better get B as it is,
// which N decides.
func (p *Product) PackedSize() int {
	if p.few {
		return 0
	}
	return p.sizeB(p.panels)
}

func (p *Product) sizeB(panels int) int { return len(p.FromB) * panels * p.K * p.width }

// Pack makes panels of B for Run, which needs nothing else of it then. Prepacked is for those
// that another product of the same B has made.
func (p *Product) Pack(dst, b []float64) {
	p.copied, p.packedB, p.bs = p.panels, dst, b
	for i := range len(p.FromB) * p.panels {
		p.packPanel(i)
	}
	p.packed, p.bs = true, nil
}

// Prepacked takes panels of B.
func (p *Product) Prepacked(panels []float64) {
	p.copied, p.packedB, p.packed = p.panels, panels, true
}

// IsPacked reports whether Pack or Prepacked was called.
func (p *Product) IsPacked() bool { return p.packed }

// ScratchSize is the number of elements that Run needs to work in.
func (p *Product) ScratchSize() int {
	n := 0
	if !p.directA {
		n += len(p.FromA) * p.M * p.K
	}
	if !p.packed {
		n += p.sizeB(p.copied)
	}
	return n
}

// Run computes c. The addend may be nil, and b is not read after Pack.
func (p *Product) Run(on *pool.Pool, c, a, b, addend, scratch []float64) {
	if p.M*p.N*len(p.FromA) == 0 {
		return
	}
	if p.swapped {
		a, b = b, a
	}
	p.cs, p.as, p.bs, p.addend = c, a, b, addend
	p.plain = p.c.Col == 1 && p.Alpha == 1 && addend == nil
	if !p.directA {
		n := len(p.FromA) * p.M * p.K
		p.rowsA, scratch = scratch[:n], scratch[n:]
	}
	if !p.packed {
		p.packedB = scratch[:p.sizeB(p.copied)]
	}
	if n := p.packs(); n > 0 {
		on.Run(n, (*packing)(p))
	}
	on.Run(p.units(), p)
	p.cs, p.as, p.bs, p.addend, p.rowsA = nil, nil, nil, nil, nil
	if !p.packed {
		p.packedB = nil
	}
}

// units is the number of parts of the work.
func (p *Product) units() int {
	return len(p.FromA) * ((p.M + blockRows - 1) / blockRows) * ((p.panels + p.group - 1) / p.group)
}

// Do computes a unit; it is called by the pool.
func (p *Product) Do(unit int) {
	groups, blocks := (p.panels+p.group-1)/p.group, (p.M+blockRows-1)/blockRows
	first, unit := unit%groups*p.group, unit/groups
	item, top := unit/blocks, unit%blocks*blockRows
	end := min(top+blockRows, p.M)
	for panel := first; panel < min(first+p.group, p.panels); panel++ {
		for row := top; row < end; row += tileRows {
			p.tile(item, row, min(tileRows, end-row), panel)
		}
	}
}

// tile computes a tile of a result.
func (p *Product) tile(item, row, rows, panel int) {
	var sums [tileRows * widest]float64
	left := panel * p.width
	n := min(p.width, p.N-left)
	switch {
	case p.K == 0:
	case p.chains:
		for i := range rows {
			a, _ := p.left(item, row+i)
			multiplyVector(sums[i*p.width:][:n], a[:p.K], p.bs[p.FromB[item]+left*p.B.Col:], p.B.Col)
		}
	default:
		a, lda := p.left(item, row)
		b, ldb := p.panel(item, panel)
		if p.plain && n == p.width {
			multiply(p.level, rows, p.cs[(item*p.M+row)*p.N+left:], a, b, p.N, lda, ldb, p.K)
			return
		}
		multiply(p.level, rows, sums[:], a, b, p.width, lda, ldb, p.K)
	}
	for i := range rows {
		p.store(item, row+i, left, sums[i*p.width:][:n])
	}
}

// left is where a row of A begins, and how far the next one is from it.
func (p *Product) left(item, row int) (a []float64, lda int) {
	if p.directA {
		return p.as[p.FromA[item]+row*p.A.Row:], p.A.Row
	}
	return p.rowsA[(item*p.M+row)*p.K:], p.K
}

// panel is where rows of B begin, and how far they are from each other.
func (p *Product) panel(item, panel int) (b []float64, ldb int) {
	first := p.panels - p.copied
	if panel < first {
		return p.bs[p.FromB[item]+panel*p.width:], p.B.Row
	}
	return p.packedB[(item*p.copied+panel-first)*p.K*p.width:], p.width
}

// store writes a row of a tile.
func (p *Product) store(item, row, left int, sums []float64) {
	if p.Alpha != 1 {
		for j := range sums {
			sums[j] *= p.Alpha
		}
	}
	if p.addend != nil {
		at := row*p.Addend.Row + left*p.Addend.Col
		for j := range sums {
			sums[j] += float64(p.Beta * p.addend[at+j*p.Addend.Col])
		}
	}
	at := item*p.M*p.N + row*p.c.Row + left*p.c.Col
	if p.c.Col == 1 {
		copy(p.cs[at:], sums)
		return
	}
	for j, x := range sums {
		p.cs[at+j*p.c.Col] = x
	}
}
