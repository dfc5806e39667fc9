package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// colours writes the transpositions between pixels of three bytes and planes of each colour, which are so many bytes
// apart; blocks are of 16 pixels.
func colours() {
	// Byte i of a plane's 16 is at 3i+colour of the pixels' 48.
	coloursKernel("unweave3", 16, 48, func(to, from, i int) int {
		at := 3*i + to
		return within(at/16 == from, at%16)
	})
	coloursKernel("weave3", 48, 16, func(to, from, i int) int {
		at := 16*to + i
		return within(at%3 == from, at/3)
	})
}

// within is an index of a shuffle, or what makes a zero.
func within(ok bool, at int) int {
	if ok {
		return at
	}
	return 0x80
}

// coloursKernel makes three registers of three, whose bytes are picked by pick. It goes on by so many bytes of dst and src;
// what goes on by 16 is in planes.
func coloursKernel(name string, write, read int, pick func(to, from, i int) int) {
	var masks [3][3]Mem
	for to := range masks {
		for from := range masks[to] {
			masks[to][from] = GLOBL(fmt.Sprintf("%sMask%d%d", name, to, from), attr.RODATA|attr.NOPTR)
			for i := range 16 {
				DATA(i, U8(uint8(pick(to, from, i))))
			}
		}
	}
	TEXT(name+"AVX2", NOSPLIT, "func(dst, src *byte, plane, blocks int)")
	Pragma("noescape")
	dst, src, n, plane := arg("dst"), arg("src"), arg("blocks"), arg("plane")
	place := func(p reg.Register, step, i int) Mem {
		if step == 16 {
			return []Mem{{Base: p}, {Base: p, Index: plane, Scale: 1}, {Base: p, Index: plane, Scale: 2}}[i]
		}
		return Mem{Base: p, Disp: 16 * i}
	}
	Label("block")
	var x [3]reg.VecVirtual
	for i := range x {
		x[i] = XMM()
		VMOVDQU(place(src, read, i), x[i])
	}
	for to := range 3 {
		var part [3]reg.VecVirtual
		for from := range part {
			part[from] = XMM()
			VPSHUFB(masks[to][from], x[from], part[from])
		}
		VPOR(part[0], part[1], part[1])
		VPOR(part[1], part[2], part[2])
		VMOVDQU(part[2], place(dst, write, to))
	}
	ADDQ(step(write), dst)
	ADDQ(step(read), src)
	DECQ(n)
	JNE(LabelRef("block"))
	end()
}
