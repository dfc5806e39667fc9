package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in bytes into the Go struct dots of mma.
const (
	dotsA        = 0
	dotsB        = 8
	dotsC        = 16
	dotsOffsets  = 24
	dotsStepA    = 32
	dotsSteps    = 40
	dotsLDA      = 48
	dotsLDC      = 56
	dotsRows     = 64
	dotsPairs    = 72
	dotsAdd      = 80
	dotsNext     = 88
	dotsNextRuns = 96
	dotsFetches  = 104
	dotsGroup    = 112
)

// dotsMost is how many rows at most have their sums in registers together, two for each.
const dotsMost = 12

// dots is a product of rows with a panel of B in vector registers: a group of rows at a
// time, each pair of A sent to all lanes.
type dots struct {
	vecs int // registers of a row of sums

	t               GPVirtual
	a, lda, lda3    GPVirtual    // the group, bytes from row to row, three times that
	quads           [3]GPVirtual // every fourth row
	b, steps, pairs GPVirtual
	offsets         GPVirtual // the next step's place, or its offset where there are none
	next, x         GPVirtual // what the first group fetches, or 0
}

// mmaDots writes one for panels of 32 columns, or for 16 of them.
func mmaDots(columns int) {
	TEXT(fmt.Sprintf("dots512x%d", columns), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("multiplies rows by %d columns; t is a *dots.", columns))
	Pragma("noescape")
	d := &dots{vecs: columns / 16, t: arg("t")}
	for _, r := range []*GPVirtual{&d.a, &d.quads[0], &d.quads[1], &d.quads[2], &d.lda, &d.lda3, &d.b, &d.offsets, &d.steps, &d.pairs, &d.next, &d.x} {
		*r = GP64()
	}
	MOVQ(d.field(dotsA), d.a)
	MOVQ(d.field(dotsLDA), d.lda)
	MOVQ(d.field(dotsNext), d.next)
	LEAQ(Mem{Base: d.lda, Index: d.lda, Scale: 2}, d.lda3)
	Label("group")
	MOVQ(d.field(dotsRows), d.x)
	CMPQ(d.x, d.field(dotsGroup))
	CMOVQGT(d.field(dotsGroup), d.x)
	SUBQ(d.x, d.field(dotsRows))
	for n := dotsMost; n > 1; n-- {
		CMPQ(d.x, Imm(uint64(n)))
		JEQ(LabelRef(fmt.Sprintf("rows%d", n)))
	}
	for n := 1; n <= dotsMost; n++ {
		d.group(n)
	}
	Label("end")
	end()
}

func (d *dots) field(off int) Mem { return Mem{Base: d.t, Disp: off} }

// sum is where a row's sums are.
func (d *dots) sum(row, vec int) VecPhysical {
	return [2 * dotsMost]VecPhysical{Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15, Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23}[row*d.vecs+vec]
}

// group multiplies n rows, and goes on to the next ones.
func (d *dots) group(n int) {
	label := func(s string) string { return fmt.Sprintf("%s%d", s, n) }
	each := func(do func(i, j int)) {
		for i := range n {
			for j := range d.vecs {
				do(i, j)
			}
		}
	}
	Label(label("rows"))
	CMPQ(d.field(dotsAdd), Imm(0))
	JNE(LabelRef(label("add")))
	each(func(i, j int) { VPXORD(d.sum(i, j), d.sum(i, j), d.sum(i, j)) })
	JMP(LabelRef(label("start")))
	Label(label("add"))
	d.eachRow(n, func(i int, at Mem) {
		for j := range d.vecs {
			VMOVUPS(at.Offset(64*j), d.sum(i, j))
		}
	})
	Label(label("start"))
	MOVQ(d.field(dotsB), d.b)
	MOVQ(d.field(dotsOffsets), d.offsets)
	MOVQ(d.field(dotsSteps), d.steps)
	Label(label("step"))
	d.place(label("placed"))
	for i := 1; 4*i < n; i++ {
		LEAQ(Mem{Base: d.quads[i-1], Index: d.lda, Scale: 4}, d.quads[i])
	}
	MOVQ(d.field(dotsPairs), d.pairs)
	d.fetch(label("fetched"))
	Label(label("pair"))
	d.pair(n)
	DECQ(d.pairs)
	JNE(LabelRef(label("pair")))
	// Steps of fewer pairs leave the rest of the panel's rows.
	MOVQ(U32(16), d.pairs)
	SUBQ(d.field(dotsPairs), d.pairs)
	SHLQ(Imm(7), d.pairs)
	ADDQ(d.pairs, d.b)
	DECQ(d.steps)
	JNE(LabelRef(label("step")))
	d.eachRow(n, func(i int, at Mem) {
		for j := range d.vecs {
			VMOVUPS(d.sum(i, j), at.Offset(64*j))
		}
	})
	CMPQ(d.field(dotsRows), Imm(0))
	JEQ(LabelRef("end"))
	XORQ(d.next, d.next)
	MOVQ(d.quads[0], d.field(dotsC)) // where the next row is
	IMUL3Q(U32(uint32(n)), d.lda, d.x)
	ADDQ(d.x, d.a)
	JMP(LabelRef("group"))
}

// place finds the step's part of A.
func (d *dots) place(placed string) {
	CMPQ(d.field(dotsOffsets), Imm(0))
	JEQ(LabelRef(placed + "next"))
	a := d.quads[0]
	MOVQ(Mem{Base: d.offsets}, a)
	ADDQ(Imm(8), d.offsets)
	JMP(LabelRef(placed))
	Label(placed + "next")
	MOVQ(d.offsets, a)
	ADDQ(d.field(dotsStepA), d.offsets)
	Label(placed)
	ADDQ(d.a, a)
}

// eachRow goes over n rows of C; the first of quads is the row after them then.
func (d *dots) eachRow(n int, do func(i int, at Mem)) {
	c, ldc := d.quads[0], d.x
	MOVQ(d.field(dotsC), c)
	MOVQ(d.field(dotsLDC), ldc)
	for i := range n {
		do(i, Mem{Base: c})
		ADDQ(ldc, c)
	}
}

// pair multiplies a pair of k.
func (d *dots) pair(n int) {
	b := [2]VecPhysical{Z24, Z25}
	for j := range d.vecs {
		VMOVDQU64(Mem{Base: d.b, Disp: 64 * j}, b[j])
	}
	rows := rowsByFour{d.quads[:], d.lda, d.lda3}
	spread := [4]VecPhysical{Z26, Z27, Z28, Z29}
	for i := range n {
		a := spread[i%len(spread)]
		VPBROADCASTD(rows.row(i, 0), a)
		for j := range d.vecs {
			VDPBF16PS(b[j], a, d.sum(i, j))
		}
	}
	for i := 0; 4*i < n; i++ {
		ADDQ(Imm(4), d.quads[i])
	}
	ADDQ(U32(128), d.b)
}

// fetch brings some of what comes next into the second-level cache.
func (d *dots) fetch(done string) {
	TESTQ(d.next, d.next)
	JEQ(LabelRef(done))
	MOVQ(d.field(dotsNextRuns), d.x)
	Label(done + "line")
	for i := range mmaNextLines {
		PREFETCHT1(Mem{Base: d.next, Disp: 64 * i})
	}
	ADDQ(U32(64*mmaNextLines), d.next)
	DECQ(d.x)
	JNE(LabelRef(done + "line"))
	DECQ(d.field(dotsFetches))
	JNE(LabelRef(done))
	XORQ(d.next, d.next)
	Label(done)
}
