package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["paged"] = pagedFamily }

// pagedKernel is attention over blocks of 16 tokens for so many rows.
type pagedKernel struct {
	wide bool // AVX-512, else AVX2
	half bool // the cache is float16
	rows int
}

const (
	pagedTokens = 16
	pagedStride = 4 * 128 // bytes from one row of scores to the next
	pagedRows   = 6
	pagedAhead  = 4 // blocks
)

func pagedFamily() {
	for _, wide := range []bool{false, true} {
		for _, half := range []bool{false, true} {
			for rows := 1; rows <= pagedRows; rows++ {
				k := pagedKernel{wide, half, rows}
				k.score()
				k.sum()
			}
		}
		rows{wide: wide}.pagedWeigh()
	}
}

// pagedWeigh turns rows of n scores, a multiple of 32, into their exponentials relative
// to the largest so far. It brings that up to date, gives the factors by which sums
// relative to the one before are too large, and adds to those of the weights.
func (v rows) pagedWeigh() {
	TEXT("weigh"+v.suffix(), NOSPLIT, "func(p, largest, sums, factors *float32, rows, n int)")
	Pragma("noescape")
	row, largest := Load(Param("p"), GP64()).(reg.GPVirtual), Load(Param("largest"), GP64()).(reg.GPVirtual)
	sums, factors := Load(Param("sums"), GP64()).(reg.GPVirtual), Load(Param("factors"), GP64()).(reg.GPVirtual)
	rows, n := Load(Param("rows"), GP64()), Load(Param("n"), GP64())
	at, left := GP64(), GP64()
	each := func(label string, emit func(i int, x Mem)) {
		MOVQ(row, at)
		MOVQ(n, left)
		Label(label)
		for i := range lanes32 / v.width() {
			emit(i, Mem{Base: at, Disp: 4 * v.width() * i})
		}
		ADDQ(step(4*lanes32), at)
		SUBQ(step(lanes32), left)
		JNE(LabelRef(label))
	}
	Label("row")
	old := v.broadcast(Mem{Base: largest})
	acc := make([]vec, lanes32/v.width())
	for i := range acc {
		acc[i] = v.copy(old)
	}
	each("max", func(i int, x Mem) { joinMore(v.load(x), acc[i], acc[i]) })
	top, m := v.tree(acc, joinMore), v.reg()
	VMOVSS(top.AsX(), Mem{Base: largest})
	VBROADCASTSS(top.AsX(), m)
	acc = v.accumulators(fconst(0))
	each("exp", func(i int, x Mem) {
		e := v.expNotPositive(v.sub(v.load(x), m))
		v.store(e, x)
		joinSum(e, acc[i], acc[i])
	})
	factor := v.expNotPositive(v.sub(old, m))
	VMOVSS(factor.AsX(), Mem{Base: factors})
	total := v.mul(factor, v.broadcast(Mem{Base: sums}))
	joinSum(v.tree(acc, joinSum).AsX(), total.AsX(), total.AsX())
	VMOVSS(total.AsX(), Mem{Base: sums})
	ADDQ(step(pagedStride), row)
	for _, p := range []reg.GPVirtual{largest, sums, factors} {
		ADDQ(step(4), p)
	}
	DECQ(rows)
	JNE(LabelRef("row"))
	end()
}

func (k pagedKernel) name(what string) string {
	n := what + "32"
	if k.half {
		n = what + "16"
	}
	level := "AVX2"
	if k.wide {
		level = "AVX512"
	}
	return fmt.Sprintf("%sx%d%s", n, k.rows, level)
}

func (k pagedKernel) lanes() int {
	if k.wide {
		return 16
	}
	return 8
}

func (k pagedKernel) vec() reg.VecVirtual {
	if k.wide {
		return ZMM()
	}
	return YMM()
}

// size is the bytes of a number of the cache.
func (k pagedKernel) size() int {
	if k.half {
		return 2
	}
	return 4
}

// load reads numbers of the cache.
func (k pagedKernel) load(m Mem, v reg.VecVirtual) {
	if k.half {
		VCVTPH2PS(m, v)
	} else {
		VMOVUPS(m, v)
	}
}

func (k pagedKernel) zero(v reg.VecVirtual) {
	if k.wide {
		VPXORD(v, v, v)
	} else {
		VXORPS(v, v, v)
	}
}

// multiplyAdd adds x times the number at m to each of the sums.
func (k pagedKernel) multiplyAdd(m Mem, x, sums []reg.VecVirtual) {
	if k.wide && len(x) == 1 {
		VFMADD231PS_BCST(m, x[0], sums[0])
		return
	}
	b := k.vec()
	VBROADCASTSS(m, b)
	for i, s := range sums {
		VFMADD231PS(x[i], b, s)
	}
}

// rowPointers reach up to 6 rows that lie stride apart.
type rowPointers struct {
	a, b, stride reg.GPVirtual // rows 0 and 3
	rows         int
}

func newRowPointers(a, stride reg.GPVirtual, rows int) *rowPointers {
	p := &rowPointers{a: a, stride: stride, rows: rows}
	if rows > 3 {
		p.b = GP64()
		LEAQ(Mem{Base: a, Index: stride, Scale: 2}, p.b)
		ADDQ(stride, p.b)
	}
	return p
}

// at is row i.
func (p *rowPointers) at(i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: p.a, Disp: disp}
	case 1, 2, 4:
		return Mem{Base: p.a, Index: p.stride, Scale: uint8(i), Disp: disp}
	case 3:
		return Mem{Base: p.b, Disp: disp}
	}
	return Mem{Base: p.b, Index: p.stride, Scale: 2, Disp: disp}
}

func (p *rowPointers) advance(bytes int) {
	ADDQ(step(bytes), p.a)
	if p.rows > 3 {
		ADDQ(step(bytes), p.b)
	}
}

// blocks is how many blocks of keys are taken at once: as many as leave room for
// the sums, so that the sums of few rows don't wait for each other.
func (k pagedKernel) blocks() int {
	registers, parts := 16, pagedTokens/k.lanes()
	if k.wide {
		registers = 32
	}
	for n := 4; n > 1; n /= 2 {
		if (k.rows+1)*parts*n < registers {
			return n
		}
	}
	return 1
}

// columns is how many registers of columns are summed at once.
func (k pagedKernel) columns() int {
	registers := 16
	if k.wide {
		registers = 32
	}
	for n := 4; n > 1; n /= 2 {
		if (k.rows+1)*n < registers {
			return n
		}
	}
	return 1
}

// score writes the products of d-element rows of q with the keys of some blocks,
// and has the memory fetched of those that come pagedAhead later in the list.
func (k pagedKernel) score() {
	TEXT(k.name("score"), NOSPLIT, "func(dst, q *float32, list *uintptr, d int, scale float32)")
	Pragma("noescape")
	list, stride := Load(Param("list"), GP64()), GP64()
	Load(Param("d"), stride)
	SHLQ(Imm(2), stride)
	rows := newRowPointers(Load(Param("q"), GP64()).(reg.GPVirtual), stride, k.rows)
	n, parts := k.blocks(), pagedTokens/k.lanes()
	blocks, next := make([]reg.GPVirtual, n), make([]reg.GPVirtual, n)
	for i := range blocks {
		blocks[i], next[i] = GP64(), GP64()
		MOVQ(Mem{Base: list, Disp: 8 * i}, blocks[i])
		MOVQ(Mem{Base: list, Disp: 8 * (i + pagedAhead)}, next[i])
	}
	sums := make([][]reg.VecVirtual, k.rows)
	for r := range sums {
		for range n * parts {
			s := k.vec()
			k.zero(s)
			sums[r] = append(sums[r], s)
		}
	}
	at, left := GP64(), Load(Param("d"), GP64()).(reg.GPVirtual)
	XORQ(at, at)
	Label("loop")
	keys := make([]reg.VecVirtual, n*parts)
	for i := range keys {
		keys[i] = k.vec()
		k.load(Mem{Base: blocks[i/parts], Index: at, Scale: 1, Disp: i % parts * k.lanes() * k.size()}, keys[i])
	}
	for _, b := range next {
		PREFETCHT0(Mem{Base: b, Index: at, Scale: 1})
	}
	for r := range sums {
		k.multiplyAdd(rows.at(r, 0), keys, sums[r])
	}
	ADDQ(step(pagedTokens*k.size()), at)
	rows.advance(4)
	DECQ(left)
	JNE(LabelRef("loop"))
	dst, scale := Load(Param("dst"), GP64()), k.vec()
	broadcastParam("scale", scale)
	for r := range sums {
		for i, s := range sums[r] {
			VMULPS(scale, s, s)
			VMOVUPS(s, Mem{Base: dst, Disp: r*pagedStride + 4*k.lanes()*i})
		}
	}
	end()
}

// sum multiplies d-element rows of o by factors and adds the values of n tokens, weighted.
func (k pagedKernel) sum() {
	TEXT(k.name("sum"), NOSPLIT, "func(o, factors, p *float32, list *uintptr, d, n int)")
	Pragma("noescape")
	d := Load(Param("d"), GP64()).(reg.GPVirtual)
	stride, pitch, at := GP64(), GP64(), GP64() // bytes of a row of o and of a block, and where columns are in that
	MOVQ(d, stride)
	SHLQ(Imm(2), stride)
	MOVQ(d, pitch)
	SHLQ(Imm(uint64(k.size()/2)), pitch) // times 2 or 4
	rows := newRowPointers(Load(Param("o"), GP64()).(reg.GPVirtual), stride, k.rows)
	XORQ(at, at)
	for parts := k.columns(); parts > 0; parts /= 2 {
		k.sumColumns(rows, d, pitch, at, parts, parts == 1)
	}
	Label("done")
	end()
}

// sumColumns takes parts registers of columns at a time while there are as many;
// the last ones may be fewer than a register holds.
func (k pagedKernel) sumColumns(rows *rowPointers, d, pitch, at reg.GPVirtual, parts int, last bool) {
	width := parts * k.lanes()
	label := func(s string) string { return fmt.Sprintf("%s%d", s, parts) }
	Label(label("columns"))
	CMPQ(d, step(width))
	JLT(LabelRef(label("fewer")))
	k.sumTokens(rows, pitch, at, parts, fmt.Sprint(parts))
	ADDQ(step(width*k.size()), at)
	rows.advance(4 * width)
	SUBQ(step(width), d)
	JMP(LabelRef(label("columns")))
	Label(label("fewer"))
	if last && k.wide { // 8 columns are left, or none
		TESTQ(d, d)
		JEQ(LabelRef("done"))
		narrow := k
		narrow.wide = false
		narrow.sumTokens(rows, pitch, at, 1, "Narrow")
	}
}

// sumTokens takes one block after the other, and has the one fetched that comes
// pagedAhead later in the list.
func (k pagedKernel) sumTokens(rows *rowPointers, pitch, at reg.GPVirtual, parts int, label string) {
	sums, factors := make([][]reg.VecVirtual, k.rows), Load(Param("factors"), GP64())
	for r := range sums {
		f := k.vec()
		VBROADCASTSS(Mem{Base: factors, Disp: 4 * r}, f)
		for i := range parts {
			s := k.vec()
			VMULPS(rows.at(r, 4*k.lanes()*i), f, s)
			sums[r] = append(sums[r], s)
		}
	}
	list, left, w := Load(Param("list"), GP64()).(reg.GPVirtual), Load(Param("n"), GP64()).(reg.GPVirtual), Load(Param("p"), GP64()).(reg.GPVirtual)
	v, next, tokens := GP64(), GP64(), GP64()
	Label("block" + label)
	MOVQ(Mem{Base: list}, v)
	ADDQ(at, v)
	MOVQ(Mem{Base: list, Disp: 8 * pagedAhead}, next)
	ADDQ(at, next)
	ADDQ(step(8), list)
	MOVQ(step(pagedTokens), tokens)
	CMPQ(left, tokens)
	CMOVQLT(left, tokens)
	SUBQ(tokens, left)
	Label("token" + label)
	values, bytes := make([]reg.VecVirtual, parts), k.lanes()*k.size()
	for i := range values {
		values[i] = k.vec()
		k.load(Mem{Base: v, Disp: i * bytes}, values[i])
	}
	for line := 0; line < parts*bytes; line += 64 {
		PREFETCHT0(Mem{Base: next, Disp: line})
	}
	for r := range sums {
		k.multiplyAdd(Mem{Base: w, Disp: r * pagedStride}, values, sums[r])
	}
	ADDQ(pitch, v)
	ADDQ(pitch, next)
	ADDQ(step(4), w)
	DECQ(tokens)
	JNE(LabelRef("token" + label))
	TESTQ(left, left)
	JNE(LabelRef("block" + label))
	for r := range sums {
		for i, s := range sums[r] {
			VMOVUPS(s, rows.at(r, 4*k.lanes()*i))
		}
	}
}
