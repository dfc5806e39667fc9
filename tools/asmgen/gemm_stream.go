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
func gemmSweep(v rows) {
	name := "sweep256"
	if v.wide {
		name = "sweep512"
	}
	TEXT(name, NOSPLIT, "func(c, a, b *float32, ldb, n, passes int)")
	Pragma("noescape")
	arg := func(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }
	c, a, b, ldb, n, passes := arg("c"), arg("a"), arg("b"), arg("ldb"), arg("n"), arg("passes")
	Label("pass")
	var x [passRows]reg.VecVirtual
	for i := range x {
		x[i] = v.broadcast(Mem{Base: a, Disp: 4 * i})
	}
	to, count := GP64(), GP64()
	MOVQ(c, to)
	MOVQ(n, count)
	from := []reg.GPVirtual{GP64()} // rows 0, 3 and 6; the two after each are reached through ldb
	MOVQ(b, from[0])
	for i := 3; i < passRows; i += 3 {
		r := GP64()
		LEAQ(Mem{Base: from[len(from)-1], Index: ldb, Scale: 2}, r)
		ADDQ(ldb, r)
		from = append(from, r)
	}
	v.rowLoop(count, 2, append(from, to), func(disp int, t *tail) {
		sum := v.get(to, disp, t)
		for i := range x {
			m := Mem{Base: from[i/3], Disp: disp}
			if i%3 > 0 {
				m.Index, m.Scale = ldb, uint8(i%3)
			}
			if t == nil {
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

// gemmRowTransposed writes the product of one row with 32 columns of a matrix that is stored
// transposed, 16 elements of K at a time: eight rows of B, which are columns of the matrix,
// are transposed in registers and continue the chains of eight elements of C. Four such
// groups alternate, since a chain waits four cycles for each of its steps.
func gemmRowTransposed() {
	TEXT("rowTransposed", NOSPLIT, "func(c, a, b *float32, ldb, k int)")
	Pragma("noescape")
	arg := func(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }
	c, a, b, ldb, k := arg("c"), arg("a"), arg("b"), arg("ldb"), arg("k")
	const ahead = 512
	ldb3, p, p4 := GP64(), GP64(), GP64()
	LEAQ(Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)
	var sums [4]reg.VecVirtual
	for g := range sums {
		sums[g] = YMM()
		VMOVUPS(Mem{Base: c, Disp: 32 * g}, sums[g])
	}
	Label("step")
	for half := range 2 {
		MOVQ(b, p)
		for _, sum := range sums {
			LEAQ(Mem{Base: p, Index: ldb, Scale: 4}, p4)
			for i := range 8 * (1 - half) {
				m := strided(i, p, p4, ldb, ldb3)
				m.Disp = ahead
				PREFETCHT1(m) // rows of some 4096 bytes share few lines of the first cache
			}
			for i, column := range transposedRows(p, p4, ldb, ldb3, 32*half) {
				x := YMM()
				VBROADCASTSS(Mem{Base: a, Disp: 32*half + 4*i}, x)
				VFMADD231PS(column, x, sum)
			}
			LEAQ(Mem{Base: p4, Index: ldb, Scale: 4}, p)
		}
	}
	ADDQ(Imm(64), a)
	ADDQ(Imm(64), b)
	SUBQ(Imm(16), k)
	JNE(LabelRef("step"))
	for g, sum := range sums {
		VMOVUPS(sum, Mem{Base: c, Disp: 32 * g})
	}
	end()
}
