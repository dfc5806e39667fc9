package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["elemwise"] = elemwise }

// elemwise writes the unary and binary functions, narrow float conversions and
// quantization loops of internal/kernels/elemwise.
func elemwise() {
	for _, v := range rowLevels {
		for _, f := range unaries {
			v.unary(f)
		}
		for _, f := range binaries {
			v.binary(f.name, f.body)
		}
		v.conversions()
		v.quantization()
	}
}

// unaryFunc is a function's body; params are broadcast where it has some.
type unaryFunc struct {
	name   string
	params int
	unroll int
	body   func(v level, x vec, p []vec) vec
}

func plain(f func(v level, x vec) vec) func(level, vec, []vec) vec {
	return func(v level, x vec, _ []vec) vec { return f(v, x) }
}

var unaries = []unaryFunc{
	{"abs", 0, 4, plain(level.abs)},
	{"neg", 0, 4, plain(level.neg)},
	{"sign", 0, 2, plain(func(v level, x vec) vec { // zeros and NaN stay
		one := v.or(v.and(x, bitsConst(signBit)), fconst(1))
		return v.pick(v.cmp(gtOQ, v.abs(x), fconst(0)), one, x)
	})},
	{"floor", 0, 4, plain(func(v level, x vec) vec { return v.round(x, toFloor) })},
	{"ceil", 0, 4, plain(func(v level, x vec) vec { return v.round(x, toCeil) })},
	{"round", 0, 4, plain(func(v level, x vec) vec { return v.round(x, toEven) })},
	{"sqrt", 0, 1, plain(func(v level, x vec) vec { r := v.reg(); VSQRTPS(x, r); return r })},
	{"reciprocal", 0, 1, plain(func(v level, x vec) vec { return v.div(v.load(fconst(1)), x) })},
	{"square", 0, 4, plain(func(v level, x vec) vec { return v.mul(x, x) })},
	{"exp", 0, 1, plain(level.exp)},
	{"log", 0, 1, plain(level.log)},
	{"sin", 0, 1, plain(level.sin)},
	{"cos", 0, 1, plain(level.cos)},
	{"tan", 0, 1, plain(level.tan)},
	{"asin", 0, 1, plain(level.asin)},
	{"acos", 0, 1, plain(level.acos)},
	{"atan", 0, 1, plain(level.atan)},
	{"sinh", 0, 1, plain(level.sinh)},
	{"cosh", 0, 1, plain(level.cosh)},
	{"asinh", 0, 1, plain(level.asinh)},
	{"acosh", 0, 1, plain(level.acosh)},
	{"atanh", 0, 1, plain(level.atanh)},
	{"tanh", 0, 1, plain(level.tanh)},
	{"sigmoid", 0, 1, plain(level.sigmoid)},
	{"erf", 0, 1, plain(level.erf)},
	{"gelu", 0, 1, plain(level.gelu)},
	{"geluTanh", 0, 1, plain(level.geluTanh)},
	{"silu", 1, 1, func(v level, x vec, p []vec) vec { return v.silu(x, p[0]) }},
	{"hardSigmoid", 2, 1, func(v level, x vec, p []vec) vec { return v.unit(v.add(v.mul(x, p[0]), p[1])) }},
	{"hardSwish", 0, 1, plain(func(v level, x vec) vec { return v.hardSwish(x, v.load(fconst(0)), v.load(fconst(1))) })},
	{"mish", 0, 1, plain(level.mish)},
	{"softplus", 0, 1, plain(level.softplus)},
	{"softsign", 0, 1, plain(func(v level, x vec) vec { return v.div(x, v.add(v.abs(x), fconst(1))) })},
	{"elu", 3, 1, func(v level, x vec, p []vec) vec { return v.elu(x, p[0], p[1], p[2]) }},
	{"leakyRelu", 1, 2, func(v level, x vec, p []vec) vec { return v.leakyRelu(x, p[0], fconst(0)) }},
	{"thresholdedRelu", 1, 2, func(v level, x vec, p []vec) vec {
		return v.pick(v.cmp(nleUQ, x, p[0]), x, v.load(fconst(0)))
	}},
	{"relu", 0, 4, plain(func(v level, x vec) vec { return v.atLeast(x, fconst(0)) })},
	{"clip", 2, 2, func(v level, x vec, p []vec) vec { return v.min(p[1], v.max(p[0], x)) }},
	{"shrink", 2, 2, func(v level, x vec, p []vec) vec { return v.shrink(x, p[0], p[1]) }},
	{"affine", 2, 2, func(v level, x vec, p []vec) vec { return v.add(v.mul(x, p[0]), p[1]) }},
}

func (v level) unary(f unaryFunc) {
	TEXT(f.name+v.suffix(), NOSPLIT, "func(dst, src []float32, a, b, c float32)")
	Pragma("noescape")
	var params []vec
	for _, name := range []string{"a", "b", "c"}[:f.params] {
		params = append(params, v.param(name))
	}
	dst, src, n := base("dst"), base("src"), length("dst")
	v.rowLoop(n, f.unroll, []reg.GPVirtual{dst, src}, func(disp int, t *tail) {
		v.put(f.body(v, v.get(src, disp, t), params), dst, disp, t)
	})
	end()
}

var binaries = []struct {
	name string
	body func(v level, a, b vec) vec
}{
	{"add", func(v level, a, b vec) vec { return v.add(a, b) }},
	{"sub", func(v level, a, b vec) vec { return v.sub(a, b) }},
	{"mul", func(v level, a, b vec) vec { return v.mul(a, b) }},
	{"div", func(v level, a, b vec) vec { return v.div(a, b) }},
	{"min", func(v level, a, b vec) vec { return v.pick(v.cmp(unord, a, a), a, v.min(a, b)) }},
	{"max", func(v level, a, b vec) vec { return v.pick(v.cmp(unord, a, a), a, v.max(a, b)) }},
	{"prelu", func(v level, a, b vec) vec { return v.leakyRelu(a, b, fconst(0)) }},
}

// binary writes the forms row∘row, row∘value and value∘row.
func (v level) binary(name string, body func(v level, a, b vec) vec) {
	for _, form := range []string{"RR", "RV", "VR"} {
		TEXT(name+form+v.suffix(), NOSPLIT, "func(dst, a, b []float32)")
		Pragma("noescape")
		dst, a, b, n := base("dst"), base("a"), base("b"), length("dst")
		pointers := []reg.GPVirtual{dst}
		get := func(p reg.GPVirtual, row bool) func(int, *tail) vec {
			if row {
				pointers = append(pointers, p)
				return func(disp int, t *tail) vec { return v.get(p, disp, t) }
			}
			value := v.broadcast(Mem{Base: p})
			return func(int, *tail) vec { return value }
		}
		left, right := get(a, form[0] == 'R'), get(b, form[1] == 'R')
		v.rowLoop(n, 2, pointers, func(disp int, t *tail) {
			v.put(body(v, left(disp, t), right(disp, t)), dst, disp, t)
		})
		end()
	}
}

// minMax is the range of x and 0, NaN left out.
func (v level) minMax() {
	TEXT("minMax"+v.suffix(), NOSPLIT, "func(x []float32) (lo, hi float32)")
	Pragma("noescape")
	p, n := base("x"), length("x")
	var lo, hi [4]vec // minima and maxima take four cycles each
	for i := range lo {
		lo[i], hi[i] = v.load(fconst(0)), v.load(fconst(0))
	}
	v.rowLoop(n, len(lo), []reg.GPVirtual{p}, func(disp int, t *tail) {
		x, i := v.get(p, disp, t), disp/(4*v.width())
		VMINPS(lo[i], x, lo[i])
		VMAXPS(hi[i], x, hi[i])
	})
	least, most := func(b, a, r Op) { VMINPS(b, a, r) }, func(b, a, r Op) { VMAXPS(b, a, r) }
	for i := 1; i < len(lo); i++ {
		least(lo[i], lo[0], lo[0])
		most(hi[i], hi[0], hi[0])
	}
	result(v.foldRegister(lo[0], least), Return("lo"))
	result(v.foldRegister(hi[0], most), Return("hi"))
	end()
}
