package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rowLoop walks n elements: emit makes one register's worth at a byte
// displacement, whole or as the tail. It is called more than once.
func (v level) rowLoop(n reg.GPVirtual, unroll int, pointers []reg.GPVirtual, emit func(disp int, t *tail)) {
	w := v.width()
	if unroll > 1 {
		SUBQ(step(unroll*w), n)
		JLT(LabelRef(v.part + "one"))
		Label(v.part + "many")
		for u := range unroll {
			emit(u*w*4, nil)
		}
		for _, p := range pointers {
			ADDQ(step(unroll*w*4), p)
		}
		SUBQ(step(unroll*w), n)
		JGE(LabelRef(v.part + "many"))
		Label(v.part + "one")
		ADDQ(step(unroll*w), n)
	}
	SUBQ(step(w), n)
	JLT(LabelRef(v.part + "rest"))
	Label(v.part + "each")
	emit(0, nil)
	for _, p := range pointers {
		ADDQ(step(w*4), p)
	}
	SUBQ(step(w), n)
	JGE(LabelRef(v.part + "each"))
	Label(v.part + "rest")
	ADDQ(step(w), n)
	JEQ(LabelRef(v.part + "done"))
	t := v.tail(n)
	emit(0, &t)
	Label(v.part + "done")
}

func (v level) get(p reg.GPVirtual, disp int, t *tail) reg.VecVirtual {
	m := Mem{Base: p, Disp: disp}
	if t == nil {
		return v.load(m)
	}
	return v.loadTail(m, *t)
}

func (v level) put(r reg.VecVirtual, p reg.GPVirtual, disp int, t *tail) {
	m := Mem{Base: p, Disp: disp}
	if t == nil {
		v.store(r, m)
		return
	}
	v.storeTail(r, m, *t)
}

// wholeLoop walks as many float32 as fill registers; Go's code does the rest.
func (v level) wholeLoop(n reg.GPVirtual, emit func()) { v.byteLoop(n, 4, emit) }

// byteLoop is wholeLoop for elements of so many bytes.
func (v level) byteLoop(n reg.GPVirtual, size int, emit func()) {
	count := 4 * v.width() / size
	SUBQ(step(count), n)
	JLT(LabelRef("done"))
	Label("each")
	emit()
	SUBQ(step(count), n)
	JGE(LabelRef("each"))
	Label("done")
}

// tailMask is where eight words are loaded from for the first n of them set.
func tailMask(n reg.Register) Mem {
	const set = 1<<32 - 1
	base, at := GP64(), GP64()
	LEAQ(words("tailmask", set, set, set, set, set, set, set, set, 0, 0, 0, 0, 0, 0, 0, 0), base)
	MOVQ(U32(8), at)
	SUBQ(n, at)
	return Mem{Base: base, Index: at, Scale: 4}
}

// tail is the mask of the first n elements of a register, n below its width.
type tail struct {
	k reg.OpmaskVirtual
	y reg.VecVirtual
}

func (v level) tail(n reg.GPVirtual) tail {
	if !v.wide {
		t := tail{y: YMM()}
		VMOVUPS(tailMask(n), t.y)
		return t
	}
	t := tail{k: K()}
	m := GP32()
	MOVL(U32(0xffffffff), m)
	BZHIL(n.As32(), m, m)
	KMOVW(m, t.k)
	return t
}

// loadTail leaves 0 in the elements beyond the tail.
func (v level) loadTail(m Mem, t tail) reg.VecVirtual {
	r := v.reg()
	if v.wide {
		VMOVUPS_Z(m, t.k, r)
	} else {
		VMASKMOVPS(m, t.y, r)
	}
	return r
}

// loadTailOr leaves a constant in the elements beyond the tail.
func (v level) loadTailOr(m Mem, t tail, fill Mem) reg.VecVirtual {
	if v.wide {
		r := v.load(fill)
		VMOVUPS(m, t.k, r)
		return r
	}
	r, f := v.loadTail(m, t), v.load(fill)
	VBLENDVPS(t.y, r, f, r)
	return r
}

func (v level) storeTail(r reg.VecVirtual, m Mem, t tail) {
	if v.wide {
		VMOVUPS(r, t.k, m)
	} else {
		VMASKMOVPS(r, t.y, m)
	}
}
