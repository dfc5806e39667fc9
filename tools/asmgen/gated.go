package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["gated"] = gatedFamily }

// gatedFamily writes the steps of recurrent cells of internal/kernels/gated, which says
// what they compute. Functions are those of internal/kernels/elemwise.
func gatedFamily() {
	for _, v := range rowLevels {
		v.lstmCell()
		v.gruCell("gru", false)
		v.gruCell("gruLinear", true)
	}
}

// cellGates is where each gate of a cell lies: a stride, in elements, apart.
func cellGates(n int) []reg.GPVirtual {
	stride := arg("stride")
	gates := []reg.GPVirtual{arg("gates")}
	for len(gates) < n {
		next := GP64()
		LEAQ(Mem{Base: gates[len(gates)-1], Index: stride, Scale: 4}, next)
		gates = append(gates, next)
	}
	return gates
}

// lstmCell computes c = f·c + i·g and h = o·tanh(c).
func (v level) lstmCell() {
	TEXT("lstm"+v.suffix(), NOSPLIT, "func(gates *float32, stride int, c, h *float32, n int)")
	Pragma("noescape")
	g, c, h, n := cellGates(4), arg("c"), arg("h"), arg("n")
	in, out, forget, cell := g[0], g[1], g[2], g[3]
	v.rowLoop(n, 1, append(g, c, h), func(disp int, t *tail) {
		new := v.mul(v.sigmoid(v.get(in, disp, t)), v.tanh(v.get(cell, disp, t)))
		new = v.add(v.mul(v.sigmoid(v.get(forget, disp, t)), v.get(c, disp, t)), new)
		v.put(new, c, disp, t)
		v.put(v.mul(v.sigmoid(v.get(out, disp, t)), v.tanh(new)), h, disp, t)
	})
	end()
}

// gruCell computes next = (1-z)·g + z·h, where g is the hyperbolic tangent of its gate,
// or linear of x + r·gate.
func (v level) gruCell(name string, linear bool) {
	signature := "func(gates *float32, stride int, h, next *float32, n int)"
	if linear {
		signature = "func(gates *float32, stride int, x, h, next *float32, n int)"
	}
	TEXT(name+v.suffix(), NOSPLIT, signature)
	Pragma("noescape")
	g, h, next, n := cellGates(3), arg("h"), arg("next"), arg("n")
	pointers := append(g, h, next)
	var x reg.GPVirtual
	if linear {
		x = arg("x")
		pointers = append(pointers, x)
	}
	v.rowLoop(n, 1, pointers, func(disp int, t *tail) {
		candidate := v.get(g[2], disp, t)
		if linear {
			candidate = v.add(v.get(x, disp, t), v.mul(v.sigmoid(v.get(g[1], disp, t)), candidate))
		}
		candidate = v.tanh(candidate)
		z := v.sigmoid(v.get(g[0], disp, t))
		rest := v.mul(v.sub(v.load(fconst(1)), z), candidate)
		v.put(v.add(rest, v.mul(z, v.get(h, disp, t))), next, disp, t)
	})
	end()
}
