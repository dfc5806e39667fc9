package main

import (
	"fmt"
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqDirect is the state of a direct kernel.
type bqDirect struct {
	*bqReader
	kind       bqKind
	rows       int
	q, m, s, c reg.GPVirtual // m: shifts
	out        reg.GPVirtual
	flip       reg.VecVirtual
	ones       reg.VecVirtual     // words, where both halves of the columns go together,
	shifting   []reg.VecVirtual   // and of each row
	acc        [][]reg.VecVirtual // of each half of the columns, of each row; nil: they are at out
	sums       []reg.VecVirtual   // of each row, in 16 bits, where codes are nibbles
}

// direct writes the product of some rows with packed panels. Where AVX2 has no registers for
// both halves of the columns of the rows, it does one after the other.
func (v bqLevel) direct(f *bqFormat, rows int) {
	a := bqText(fmt.Sprintf("direct%s%sx%d", v.suffix(), f.name, rows))
	k := &bqDirect{bqReader: v.reader(f, a), kind: f.kind(), rows: rows, out: a.value(bqAcc)}
	panels := a.value(bqPanels)
	switch {
	case v.wide && k.table != nil:
		v.xor(v.constant(0x80808080), k.table, k.table)
	case v.wide && f.signed():
		k.flip = v.constant(0x80808080)
	}
	sets := [][]int{{0}, {1}}
	if v.wide {
		sets = sets[:1]
	} else if rows == 1 || k.together() {
		sets = [][]int{{0, 1}}
	}
	if k.holdsResults() {
		k.acc = make([][]reg.VecVirtual, v.halves())
		for h := range k.acc {
			for range rows {
				k.acc[h] = append(k.acc[h], v.reg())
			}
		}
	}
	k.thrifty = k.thrifty || k.split()
	if k.together() {
		k.constants()
	}
	k.q, k.m, k.s, k.c = GP64(), GP64(), GP64(), GP64()
	units, start := GP64(), GP64()
	Label("panel")
	k.prefetchResults(a)
	if len(sets) > 1 {
		MOVQ(k.w, start)
	}
	for i, set := range sets {
		k.columns = set
		if i > 0 {
			MOVQ(start, k.w)
		}
		MOVQ(a.field(bqQ), k.q)
		MOVQ(a.field(bqShift), k.m)
		MOVQ(a.field(bqS), k.s)
		MOVQ(a.field(bqC), k.c)
		MOVQ(a.field(bqUnits), units)
		k.clearResults()
		k.units(units, fmt.Sprint(i), func() {
			if i == 0 {
				k.prefetch()
			}
			if k.together() {
				k.both()
			} else {
				for _, h := range set {
					k.half(h)
				}
			}
			k.next()
			ADDQ(U32(uint32(32*rows)), k.q)
			ADDQ(Imm(uint64(4*rows)), k.m)
			ADDQ(Imm(uint64(4*rows*k.kind.perHalf(bqTwoOffsets))), k.s)
			ADDQ(Imm(uint64(4*rows*k.kind.perHalf(bqPair))), k.c)
		})
		k.storeResults()
	}
	if v.wide {
		k.finish(a, panels)
	} else {
		ADDQ(U32(uint32(64*rows)), k.out)
	}
	ADDQ(Imm(64), a.field(bqAt))
	DECQ(panels)
	JNE(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// holdsResults: there are registers for the results.
func (k *bqDirect) holdsResults() bool {
	switch {
	case k.wide:
		return true
	case k.rows < 4:
		return k.kind != bqTwoOffsets
	}
	return !k.together() && k.kind != bqPair && k.kind != bqTwoOffsets && !k.f.signed() && k.f.high == 0
}

// prefetchResults fetches where a panel's results go, to be written to, and what is added to
// them: they may be in the cache of the processor that wrote or read there before.
func (k *bqDirect) prefetchResults(a argStruct) {
	f := argStruct{a.value(bqFinish)}
	y, residual, rows := reg.R9, f.value(bqfResidual), f.value(bqfRows)
	MOVQ(f.field(bqfY), y)
	ADDQ(a.field(bqAt), y)
	ADDQ(a.field(bqAt), residual)
	CMPQ(f.field(bqfResidual), Imm(0))
	CMOVQEQ(y, residual)
	Label("result")
	PREFETCHW(y, 0)
	PREFETCHT0(Mem{Base: residual})
	ADDQ(f.field(bqfLDY), y)
	ADDQ(f.field(bqfLDR), residual)
	DECQ(rows)
	JNE(LabelRef("result"))
}

// finish stores a panel's results where they go in the end.
func (k *bqDirect) finish(a argStruct, panels reg.GPVirtual) {
	f := argStruct{a.value(bqFinish)}
	columns, m := GP32(), bqMasks{k: K()}
	MOVL(U32(0xffff), columns)
	CMPQ(panels, Imm(1))
	CMOVLEQ(f.field(bqfMask), columns)
	KMOVW(columns, m.k)
	s := &bqStore{bqLevel: k.bqLevel, acc: k.out, bias: f.field(bqfBias), ldy: f.field(bqfLDY), ldr: f.field(bqfLDR)}
	free := k.acc[0] // results are stored
	if k.rows == 1 {
		free = append([]reg.VecVirtual{k.reg(), k.reg()}, free...)
	}
	s.biases, s.sums, s.added = free[:1], free[1:2], free[2:3]
	k.clear(free[0])
	CMPQ(s.bias, Imm(0))
	JEQ(LabelRef("added"))
	bias := f.value(bqfBias)
	ADDQ(a.field(bqAt), bias)
	m.load(Mem{Base: bias}, 0, s.biases[0])
	Label("added")
	s.y, s.residual, s.rows, s.scales = f.value(bqfY), f.value(bqfResidual), f.value(bqfRows), f.value(bqfScales)
	ADDQ(a.field(bqAt), s.y)
	TESTQ(s.residual, s.residual)
	JEQ(LabelRef("row"))
	ADDQ(a.field(bqAt), s.residual)
	s.loop("row", func(h int, r reg.VecVirtual, at Mem) { m.load(at, h, r) }, func(h int, r reg.VecVirtual, at Mem) { m.store(r, at, h) })
	MOVQ(a.field(bqAcc), k.out)
}

// result is where a row's results of half h of the columns go.
func (k *bqDirect) result(h, row int) Mem { return Mem{Base: k.out, Disp: 64*row + 32*h} }

func (k *bqDirect) clearResults() {
	for _, h := range k.columns {
		if k.acc != nil {
			for _, acc := range k.acc[h] {
				k.clear(acc)
			}
			continue
		}
		zero := k.zeroed()
		for r := range k.rows {
			k.store(zero, k.result(h, r))
		}
	}
}

func (k *bqDirect) storeResults() {
	if k.acc == nil {
		return
	}
	for _, h := range k.columns {
		for r, acc := range k.acc[h] {
			k.store(acc, k.result(h, r))
		}
	}
}

// into changes a row's results.
func (k *bqDirect) into(h, row int, add func(acc reg.VecVirtual)) {
	if k.acc != nil {
		add(k.acc[h][row])
		return
	}
	acc := k.reg()
	k.load(k.result(h, row), acc)
	add(acc)
	k.store(acc, k.result(h, row))
}

// of is a row's number of the group: the i-th where it has two.
func (k *bqDirect) of(base reg.GPVirtual, i, row int) Mem {
	return Mem{Base: base, Disp: 4 * (k.rows*i + row)}
}

// half adds the products of a group with half h of the columns.
func (k *bqDirect) half(h int) {
	if k.split() {
		k.byHalves(h)
		return
	}
	factors := k.factors(h)
	dots := make([][]reg.VecVirtual, k.rows)
	k.sums = make([]reg.VecVirtual, k.rows)
	for r := range dots {
		if !k.nibbles() {
			dots[r] = k.start(r)
		}
	}
	k.codes(h, func(t int, x, y reg.VecVirtual) {
		for i, c := range []reg.VecVirtual{x, y} {
			if k.flip != nil {
				k.xor(k.flip, c, c)
			}
			if factors != nil {
				VPMULLW(factors[(t+i)/4], c, c)
			}
		}
		k.pair(t, x, y, dots)
	})
	if k.nibbles() {
		for r, x := range k.sums {
			VPMADDWD(bitsConst(0x00010001), x, x)
			if k.f.zero != 0 {
				VPADDD(k.start(r)[0], x, x)
			}
			dots[r] = []reg.VecVirtual{x}
		}
	}
	k.add(h, dots)
}

// nibbles: all products of a group are added in 16 bits.
func (k *bqDirect) nibbles() bool { return !k.wide && k.f.nibbles() }

// split: the halves of K are multiplied one after the other, since there are no
// registers for the sums of both.
func (k *bqDirect) split() bool { return k.kind == bqPair && (k.rows > 4 || k.rows > 1 && !k.wide) }

// byHalves adds the products of a group, 16 elements at a time.
func (k *bqDirect) byHalves(h int) {
	sums := make([]reg.VecVirtual, k.rows)
	places := 8 / k.f.low
	for i := range 2 {
		dots := make([][]reg.VecVirtual, k.rows)
		for r := range dots {
			x := k.reg()
			VPBROADCASTD(k.of(k.c, i, r), x)
			VPSRAD(Imm(uint64(7-bits.TrailingZeros(uint(k.f.zero)))), x, x)
			dots[r] = []reg.VecVirtual{x, x}
		}
		k.codesOf(h, i*places/2, (i+1)*places/2, func(t int, x, y reg.VecVirtual) { k.pair(t, x, y, dots) })
		sc := k.float(16*i, h, true)
		for r, dot := range dots {
			k.shifted(r, dot[0])
			VCVTDQ2PS(dot[0], dot[0])
			if i == 0 {
				VMULPS(sc, dot[0], dot[0])
				sums[r] = dot[0]
				continue
			}
			VFMADD231PS(sc, dot[0], sums[r])
		}
	}
	for r, sum := range sums {
		k.into(h, r, func(acc reg.VecVirtual) { VFMADD231PS(sum, k.dh[h], acc) })
	}
}

// start gives a row's sums: of the halves of K for pairs. A single row has two in
// other cases too, so as not to wait for one.
func (k *bqDirect) start(row int) (dot []reg.VecVirtual) {
	sums, from := 1, 1
	if k.kind == bqPair || k.rows == 1 && !k.nibbles() {
		sums = 2
	}
	if k.kind == bqPair {
		from = 2
	}
	for i := range sums {
		x := k.reg()
		dot = append(dot, x)
		if i >= from || k.f.zero == 0 && !(k.wide && k.f.signed()) {
			k.clear(x)
			continue
		}
		VPBROADCASTD(k.of(k.c, i, row), x)
		if k.f.zero != 0 {
			VPSRAD(Imm(uint64(7-bits.TrailingZeros(uint(k.f.zero)))), x, x)
		}
	}
	return dot
}

// pair adds the products of quads t and t+1.
func (k *bqDirect) pair(t int, x, y reg.VecVirtual, dots [][]reg.VecVirtual) {
	for i, c := range []reg.VecVirtual{x, y} {
		for r, dot := range dots {
			if k.wide {
				VPDPBUSD_BCST(Mem{Base: k.q, Disp: 32*r + 4*(t+i)}, c, k.sum(dot, t, i))
			}
		}
	}
	if k.wide {
		return
	}
	abs := [2]reg.VecVirtual{x, y}
	for i, c := range abs {
		if k.f.signed() && k.rows > 1 {
			abs[i] = YMM()
			VPABSB(c, abs[i])
		}
	}
	for r, dot := range dots {
		p := [2]reg.VecVirtual{YMM(), YMM()}
		for i, c := range []reg.VecVirtual{x, y} {
			VPBROADCASTD(Mem{Base: k.q, Disp: 32*r + 4*(t+i)}, p[i])
			bqBytes(k.f.signed(), c, abs[i], p[i])
		}
		if !k.f.signed() { // sums of two stay within 16 bits
			VPADDW(p[1], p[0], p[0])
			if k.nibbles() {
				if k.sums[r] == nil {
					k.sums[r] = p[0]
				} else {
					VPADDW(p[0], k.sums[r], k.sums[r])
				}
				continue
			}
			VPMADDWD(bitsConst(0x00010001), p[0], p[0])
			VPADDD(p[0], k.sum(dot, t, 0), k.sum(dot, t, 0))
			continue
		}
		for i := range p {
			VPMADDWD(bitsConst(0x00010001), p[i], p[i])
			VPADDD(p[i], k.sum(dot, t, i), k.sum(dot, t, i))
		}
	}
}

// sum is where the products of quad t+i go.
func (k *bqDirect) sum(dot []reg.VecVirtual, t, i int) reg.VecVirtual {
	if k.kind == bqPair {
		return dot[t/4]
	}
	return dot[i%len(dot)]
}

// bqBytes makes of x the sums of pairs of products with w. Those of signed bytes
// are products of magnitudes, 128 at most, with x under w's sign; they are abs, or
// take w's place.
func bqBytes(signed bool, w, abs, x reg.VecVirtual) {
	if signed {
		VPSIGNB(w, x, x)
		if abs == w {
			VPABSB(w, w)
		}
	}
	VPMADDUBSW(x, abs, x)
}

// add adds to the results.
func (k *bqDirect) add(h int, dots [][]reg.VecVirtual) {
	dw, extra := k.scales(h)
	for r, dot := range dots {
		sum := dot[0]
		switch {
		case k.kind == bqPair:
			for i, x := range dot {
				k.shifted(r, x)
				VCVTDQ2PS(x, x)
				if i == 0 {
					VMULPS(extra[0], x, x)
				} else {
					VFMADD231PS(extra[1], x, sum)
				}
			}
		case len(dot) == 2:
			VPADDD(dot[1], sum, sum)
			fallthrough
		default:
			k.shifted(r, sum)
			VCVTDQ2PS(sum, sum)
		}
		k.into(h, r, func(acc reg.VecVirtual) {
			VFMADD231PS(sum, dw, acc)
			if k.kind != bqOffset && k.kind != bqTwoOffsets {
				return
			}
			for i, x := range extra {
				k.addScaled(k.of(k.s, i, r), x, acc)
			}
		})
	}
}

// shifted shifts sums of products of a row. Processors have more units for that than for
// multiplications, which are all busy.
func (k *bqDirect) shifted(row int, sums reg.VecVirtual) {
	m := k.of(k.m, 0, row)
	if k.wide {
		VPSLLVD_BCST(m, sums, sums)
		return
	}
	by := YMM()
	VPBROADCASTD(m, by)
	VPSLLVD(by, sums, sums)
}

// addScaled adds x times the number at m.
func (k *bqDirect) addScaled(m Mem, x, acc reg.VecVirtual) {
	if k.wide {
		VFMADD231PS_BCST(m, x, acc)
		return
	}
	s := YMM()
	VBROADCASTSS(m, s)
	VFMADD231PS(s, x, acc)
}
