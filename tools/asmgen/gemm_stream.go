package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// passRows is the rows of B that a pass of sweep adds to a row of C.
const passRows = 8

// gemmSweep writes the product of one row with a matrix whose rows lie far apart: C, which
// stays in the first cache, takes eight rows of B in each pass, so that memory is read
// along rows and each element of C remains one chain over k.
func gemmSweep(v level) {
	name := "sweep256"
	if v.wide {
		name = "sweep512"
	}
	TEXT(name, NOSPLIT, "func(c, a, b *float32, ldb, n, passes int)")
	Pragma("noescape")
	c, a, b, ldb, n, passes := arg("c"), arg("a"), arg("b"), arg("ldb"), arg("n"), arg("passes")
	Label("pass")
	var x [passRows]reg.VecVirtual
	for i := range x {
		x[i] = v.broadcast(Mem{Base: a, Disp: 4 * i})
	}
	to, count := GP64(), GP64()
	MOVQ(c, to)
	MOVQ(n, count)
	first := GP64()
	MOVQ(b, first)
	from := newRowsByThree(first, ldb, passRows)
	v.rowLoop(count, 2, append(from.thirds, to), func(disp int, t *tail) {
		sum := v.get(to, disp, t)
		for i := range x {
			if m := from.at(i, disp); t == nil {
				VFMADD231PS(m, x[i], sum)
			} else {
				VFMADD231PS(v.loadTail(m, *t), x[i], sum)
			}
		}
		v.put(sum, to, disp, t)
	})
	ADDQ(step(4*passRows), a)
	LEAQ(Mem{Base: b, Index: ldb, Scale: 8}, b)
	DECQ(passes)
	JNE(LabelRef("pass"))
	end()
}

// gemmRowTransposed writes the product of one row with blocks of 16 columns of a matrix that is
// stored transposed, 16 elements of K at a time: eight rows of B, which are columns of the matrix,
// are transposed in registers and continue the chains of eight elements of C. Two such
// groups alternate, since a chain waits four cycles for each of its steps; of more than 16
// rows that are a multiple of 2048 bytes apart, lines push each other out of the first cache.
func gemmRowTransposed() {
	TEXT("rowTransposed", NOSPLIT, "func(c, a, b *float32, ldb, k, blocks int)")
	Pragma("noescape")
	a, k := GP64(), GP64()
	c, b, ldb, blocks := arg("c"), arg("b"), arg("ldb"), arg("blocks")
	ldb3 := times3(ldb)
	rows := [4]reg.GPVirtual{b, GP64(), GP64(), GP64()} // rows 0, 4, 8 and 12
	Load(Param("k"), k)
	// What is fetched is sixteen steps ahead, or as many as there are: at the end of the rows
	// that is at the beginning of the next 16.
	far, last, wrapped := GP64(), GP64(), GP64()
	MOVQ(U32(1024/4), far)
	CMPQ(k, far)
	CMOVQLT(k, far)
	MOVQ(far, last)
	MOVQ(ldb, wrapped)
	SHLQ(Imm(2), wrapped)
	SUBQ(k, wrapped)
	ADDQ(far, wrapped)
	SHLQ(Imm(2), wrapped)

	Label("block")
	Load(Param("a"), a)
	Load(Param("k"), k)
	MOVQ(last, far)
	SHLQ(Imm(2), far)
	sums := [2]reg.VecVirtual{YMM(), YMM()}
	for g, sum := range sums {
		VMOVUPS(Mem{Base: c, Disp: 32 * g}, sum)
	}
	for i := range rows[1:] {
		LEAQ(Mem{Base: rows[i], Index: ldb, Scale: 4}, rows[i+1])
	}
	Label("step")
	CMPQ(k, last)
	CMOVQLE(wrapped, far)
	next := GP64()
	LEAQ(Mem{Base: b, Index: far, Scale: 1}, next)
	for i := range 16 {
		if i > 0 && i%4 == 0 {
			LEAQ(Mem{Base: next, Index: ldb, Scale: 4}, next)
		}
		PREFETCHT1(rowsByFour{[]reg.GPVirtual{next}, ldb, ldb3}.row(i%4, 0))
	}
	for half := range 2 {
		for g, sum := range sums {
			for i, column := range transposedRows(rowsByFour{rows[2*g : 2*g+2], ldb, ldb3}, 32*half) {
				x := YMM()
				VBROADCASTSS(Mem{Base: a, Disp: 32*half + 4*i}, x)
				VFMADD231PS(column, x, sum)
			}
		}
	}
	ADDQ(Imm(64), a)
	for _, p := range rows {
		ADDQ(Imm(64), p)
	}
	SUBQ(Imm(16), k)
	JNE(LabelRef("step"))
	for g, sum := range sums {
		VMOVUPS(sum, Mem{Base: c, Disp: 32 * g})
	}
	ADDQ(Imm(64), c)
	Load(Param("k"), k)
	SHLQ(Imm(2), k)
	LEAQ(Mem{Base: rows[3], Index: ldb, Scale: 4}, b)
	SUBQ(k, b)
	DECQ(blocks)
	JNE(LabelRef("block"))
	end()
}
