package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["reduce"] = reduceFamily }

// folding is a way of package reduce to take elements into lanes.
type folding struct {
	name    string
	initial float64
	bits    uint32 // of the initial value, if not 0
	value   func(v level, x vec) vec
	join    func(b, a, r Op)
	ordered bool // NaN is to be noticed
}

var foldings = []folding{
	{"sum", 0, 0, func(_ level, x vec) vec { return x }, joinSum, false},
	{"abs", 0, 0, level.abs, joinSum, false},
	{"square", 0, 0, func(v level, x vec) vec { return v.mul(x, x) }, joinSum, false},
	{"max", 0, minusInf, func(_ level, x vec) vec { return x }, joinMore, true},
	{"min", 0, plusInf, func(_ level, x vec) vec { return x }, joinLess, true},
	{"prod", 1, 0, func(_ level, x vec) vec { return x }, joinMul, false},
}

func (f folding) start() Mem {
	if f.bits != 0 {
		return bitsConst(f.bits)
	}
	return fconst(f.initial)
}

func reduceFamily() {
	for _, v := range rowLevels {
		for _, f := range foldings {
			v.foldBlock(f)
			v.foldRows(f)
			v.foldStep(f)
			v.foldColumns(f)
		}
		v.typedColumns()
		v.squareDiff()
		v.runningSums(8)
		v.runningSums(1)
	}
	leastBytes()
	placesOfExtrema()
}

// anyNaN gathers where a NaN was seen.
type anyNaN struct {
	v   level
	k   reg.OpmaskVirtual
	y   vec
	off bool
}

func (v level) noNaN(ordered bool) *anyNaN {
	a := &anyNaN{v: v, off: !ordered}
	switch {
	case a.off:
	case v.wide:
		a.k = K()
		KXORW(a.k, a.k, a.k)
	default:
		a.y = v.load(fconst(0))
	}
	return a
}

func (a *anyNaN) see(x vec) {
	if a.off {
		return
	}
	c := a.v.cmp(unord, x, x)
	if a.v.wide {
		KORW(c.k, a.k, a.k)
	} else {
		VORPS(c.y, a.y, a.y)
	}
}

// spoil makes the result NaN if one was seen.
func (a *anyNaN) spoil(result vec) {
	if a.off {
		return
	}
	a.ifSeen(func() { VMOVSS(bitsConst(quietNaN), result.AsX()) })
}

// spoilAll makes all elements NaN if one was seen.
func (a *anyNaN) spoilAll(x vec) {
	a.ifSeen(func() { VBROADCASTSS(bitsConst(quietNaN), x) })
}

// ifSeen writes what is done where a NaN was seen.
func (a *anyNaN) ifSeen(do func()) {
	g := GP32()
	if a.v.wide {
		KMOVW(a.k, g)
	} else {
		VMOVMSKPS(a.y, g)
	}
	TESTL(g, g)
	JEQ(LabelRef("clean"))
	do()
	Label("clean")
}

func (v level) foldBlock(f folding) {
	TEXT(f.name+"Block"+v.suffix(), NOSPLIT, "func(x []float32) float32")
	Pragma("noescape")
	result(v.foldOne(f, base("x"), length("x")), ReturnIndex(0))
	end()
}

// foldOne takes n elements through lanes to one; p and n are used up.
func (v level) foldOne(f folding, p, n reg.GPVirtual) vec {
	acc, nan := v.accumulators(f.start()), v.noNaN(f.ordered)
	v.lanesLoop(n, []reg.GPVirtual{p}, func(i, disp int, t *tail) {
		m := Mem{Base: p, Disp: disp}
		var x vec
		if t == nil {
			x = v.load(m)
		} else {
			x = v.loadTailOr(m, *t, f.start())
		}
		nan.see(x)
		f.join(f.value(v, x), acc[i], acc[i])
	})
	r := v.tree(acc, f.join)
	nan.spoil(r)
	return r
}

// foldRows does to each row of so many elements what foldBlock does to one.
func (v level) foldRows(f folding) {
	TEXT(f.name+"Rows"+v.suffix(), NOSPLIT, "func(dst, x []float32, n int)")
	Pragma("noescape")
	dst, rows, x, size := base("dst"), length("dst"), base("x"), arg("n")
	Label("next")
	p, n := GP64(), GP64()
	MOVQ(x, p)
	MOVQ(size, n)
	VMOVSS(v.foldOne(f, p, n).AsX(), Mem{Base: dst})
	LEAQ(Mem{Base: x, Index: size, Scale: 4}, x)
	ADDQ(Imm(4), dst)
	DECQ(rows)
	JNE(LabelRef("next"))
	end()
}

// foldStep takes a row of elements into a row of lanes.
func (v level) foldStep(f folding) {
	TEXT(f.name+"Step"+v.suffix(), NOSPLIT, "func(acc, x []float32)")
	Pragma("noescape")
	acc, p, n := base("acc"), base("x"), length("acc")
	v.rowLoop(n, 4, []reg.GPVirtual{acc, p}, func(disp int, t *tail) {
		a, x := v.get(acc, disp, t), v.get(p, disp, t)
		r := v.reg()
		f.join(f.value(v, x), a, r)
		if f.ordered {
			r = v.pick(v.cmp(unord, x, x), x, r)
		}
		v.put(r, acc, disp, t)
	})
	end()
}

// columnBytes is what a row of the tiles of foldColumns fills.
const columnBytes = 256

// foldColumns takes a block of rows of 64 columns into one row, one row after the other.
func (v level) foldColumns(f folding) {
	v.columnsOf(f.name+"Columns", "float32", 2, func(e, a vec) {
		if !f.ordered {
			f.join(f.value(v, e), a, a)
			return
		}
		r := v.reg()
		f.join(e, a, r)
		VMOVAPS(v.pick(v.cmp(unord, e, e), e, r), a)
	})
}

// columnsOf takes rows of columns into acc, one row after the other, in elements of 1 << log bytes.
func (v level) columnsOf(name, of string, log uint8, join func(e, a vec)) {
	TEXT(name+v.suffix(), NOSPLIT, "func(acc, x []"+of+", stride, rows int)")
	Pragma("noescape")
	dst, x := base("acc"), base("x")
	stride, rows := arg("stride"), arg("rows")
	SHLQ(Imm(uint64(log)), stride)
	acc := make([]vec, columnBytes/(4*v.width()))
	for i := range acc {
		acc[i] = v.load(Mem{Base: dst, Disp: 4 * v.width() * i})
	}
	TESTQ(rows, rows)
	JEQ(LabelRef("done"))
	Label("row")
	for i, a := range acc {
		join(v.load(Mem{Base: x, Disp: 4 * v.width() * i}), a)
	}
	ADDQ(stride, x)
	DECQ(rows)
	JNE(LabelRef("row"))
	Label("done")
	for i, a := range acc {
		v.store(a, Mem{Base: dst, Disp: 4 * v.width() * i})
	}
	end()
}

// typedColumns are those of integers and float64.
func (v level) typedColumns() {
	simple := func(f func(ops ...Op)) func(e, a vec) { return func(e, a vec) { f(e, a, a) } }
	long := func(wide func(ops ...Op), greater bool) func(e, a vec) {
		return func(e, a vec) { v.extremum64(wide, greater)(e, a, a) }
	}
	double := func(f func(ops ...Op)) func(e, a vec) { return func(e, a vec) { v.keepNaN(f, a, e, a) } }
	for _, c := range []struct {
		name, of string
		log      uint8
		join     func(e, a vec)
	}{
		{"sum", "int32", 2, simple(VPADDD)}, {"max", "int32", 2, simple(VPMAXSD)}, {"min", "int32", 2, simple(VPMINSD)},
		{"sum", "int64", 3, simple(VPADDQ)}, {"max", "int64", 3, long(VPMAXSQ, true)}, {"min", "int64", 3, long(VPMINSQ, false)},
		{"sum", "float64", 3, simple(VADDPD)}, {"max", "float64", 3, double(VMAXPD)}, {"min", "float64", 3, double(VMINPD)},
	} {
		v.columnsOf(c.name+strings.ToUpper(c.of[:1])+c.of[1:], c.of, c.log, c.join)
	}
}

// keepNaN is f of float64, an extremum that gives a where either is NaN, but b where that is.
func (v level) keepNaN(f func(ops ...Op), a, b, r vec) {
	y := v.reg()
	f(a, b, y) // b ∘ a ? b : a
	if v.wide {
		k := K()
		VCMPPD(U8(unord), b, b, k)
		VMOVAPD(b, k, y)
	} else {
		c := v.reg()
		VCMPPD(U8(unord), b, b, c)
		VBLENDVPD(c, b, y, y)
	}
	VMOVAPD(y, r)
}

// runningSums writes to each row the sum of the rows up to it, in float64 and rounded, for as many columns as so many
// registers hold.
func (v level) runningSums(registers int) {
	TEXT(fmt.Sprintf("runningSums%d%s", registers, v.suffix()), NOSPLIT, "func(dst, src []float32, stride, rows int)")
	Pragma("noescape")
	dst, src := base("dst"), base("src")
	stride, left := arg("stride"), arg("rows")
	SHLQ(Imm(2), stride)
	sums := make([]vec, registers)
	for i := range sums {
		sums[i] = v.load(fconst(0))
	}
	Label("row")
	for i, sum := range sums {
		at := 2 * v.width() * i
		x, rounded := v.reg(), v.narrowReg()
		VCVTPS2PD(Mem{Base: src, Disp: at}, x)
		VADDPD(x, sum, sum)
		if v.wide {
			VCVTPD2PS(sum, rounded)
		} else {
			VCVTPD2PSY(sum, rounded)
		}
		VMOVUPS(rounded, Mem{Base: dst, Disp: at})
	}
	ADDQ(stride, src)
	ADDQ(stride, dst)
	DECQ(left)
	JNE(LabelRef("row"))
	end()
}

func (v level) squareDiff() {
	TEXT("squareDiff"+v.suffix(), NOSPLIT, "func(x []float32, mean float32) float32")
	Pragma("noescape")
	p, n, mean := base("x"), length("x"), v.param("mean")
	acc := v.accumulators(fconst(0))
	v.lanesLoop(n, []reg.GPVirtual{p}, func(i, disp int, t *tail) {
		d := v.only(v.sub(v.get(p, disp, t), mean), t)
		joinSum(v.mul(d, d), acc[i], acc[i])
	})
	result(v.tree(acc, joinSum), ReturnIndex(0))
	end()
}
