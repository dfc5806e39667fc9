package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["norm"] = normFamily }

func normFamily() {
	for _, v := range rowLevels {
		v.normalize("normRow", "func(dst, src, gamma, beta []float32, mean, inv float32)", true)
		v.normalize("normRowGamma", "func(dst, src, gamma []float32, mean, inv float32)", false)
		v.normChannel()
		v.blocked(16)
	}
	avx2.blocked(8)
}

// normalize computes ((src-mean)·inv)·gamma + beta.
func (v level) normalize(name, signature string, hasBeta bool) {
	TEXT(name+v.suffix(), NOSPLIT, signature)
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), length("dst")
	mean, inv := v.param("mean"), v.param("inv")
	pointers := []reg.GPVirtual{dst, src, base("gamma")}
	if hasBeta {
		pointers = append(pointers, base("beta"))
	}
	v.rowLoop(n, 2, pointers, func(disp int, t *tail) {
		y := v.mul(v.sub(v.get(src, disp, t), mean), inv)
		y = v.mul(y, v.get(pointers[2], disp, t))
		if hasBeta {
			y = v.add(y, v.get(pointers[3], disp, t))
		}
		v.put(y, dst, disp, t)
	})
	end()
}

func (v level) normChannel() {
	TEXT("normChannel"+v.suffix(), NOSPLIT, "func(dst, src []float32, mean, inv, gamma, beta float32)")
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), length("dst")
	mean, inv, gamma, beta := v.param("mean"), v.param("inv"), v.param("gamma"), v.param("beta")
	v.rowLoop(n, 2, []reg.GPVirtual{dst, src}, func(disp int, t *tail) {
		y := v.mul(v.sub(v.get(src, disp, t), mean), inv)
		v.put(v.add(v.mul(y, gamma), beta), dst, disp, t)
	})
	end()
}

// blocked computes src·scale + shift over whole blocks of channels.
func (v level) blocked(block int) {
	name := map[int]string{8: "blocked8", 16: "blocked16"}[block]
	TEXT(name+v.suffix(), NOSPLIT, "func(dst, src, scale, shift []float32)")
	Pragma("noescape")
	dst, src, n := base("dst"), base("src"), length("dst")
	var scale, shift []vec
	s, b := base("scale"), base("shift")
	for at := 0; at < block; at += v.width() {
		scale = append(scale, v.load(Mem{Base: s, Disp: 4 * at}))
		shift = append(shift, v.load(Mem{Base: b, Disp: 4 * at}))
	}
	SUBQ(step(block), n)
	JLT(LabelRef("done"))
	Label("each")
	for i := range scale {
		m := 4 * v.width() * i
		v.put(v.add(v.mul(v.get(src, m, nil), scale[i]), shift[i]), dst, m, nil)
	}
	ADDQ(step(4*block), dst)
	ADDQ(step(4*block), src)
	SUBQ(step(block), n)
	JGE(LabelRef("each"))
	Label("done")
	end()
}
