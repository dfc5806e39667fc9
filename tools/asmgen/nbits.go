package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["nbits"] = nbits }

// nbits writes the kernels of internal/kernels/nbits, where pack.go says how weights lie.
func nbits() {
	for _, v := range rowLevels {
		columns := 16 / v.width() // registers of half a panel
		for _, bits := range []int{4, 8} {
			for _, zeros := range []bool{false, true} {
				f := nbFormat{level: v, bits: bits, zeros: zeros}
				if f.looksUp() {
					f.numbers = f.table()
				}
				f.multiply("row", 1, 2*columns)
				f.multiply("four", 4, 2) // AVX2 has registers for half a panel
				f.widen(columns)
			}
		}
	}
}

// Offsets in bytes into the Go struct args.
const (
	nbW      = 0
	nbX      = 8
	nbLDX    = 16
	nbGroups = 24
	nbOut    = 32
	nbLDW    = 40
)

const nbVector = 128 // bytes of a word of each column

// nbFormat is how weights are packed.
type nbFormat struct {
	level
	bits    int
	zeros   bool
	numbers Mem // that codes stand for, where looksUp
}

// looksUp: VPERMPS looks at four bits of an index, whatever the others are.
func (f nbFormat) looksUp() bool { return f.wide && f.bits == 4 }

// text begins a kernel.
func (f nbFormat) text(name string) argStruct {
	zeros := ""
	if f.zeros {
		zeros = "Zeros"
	}
	TEXT(fmt.Sprintf("%s%d%s%s", name, f.bits, zeros, f.suffix()), NOSPLIT, "func(a *byte)")
	Pragma("noescape")
	return argStruct{arg("a")}
}

func (f nbFormat) codesAt() int {
	if f.zeros {
		return 2 * nbVector
	}
	return nbVector
}

// multiply writes the product of some rows with some registers of columns: chains of fused
// multiply-adds in the order of k.
func (f nbFormat) multiply(name string, rows, columns int) {
	a := f.text(name)
	x, out := a.value(nbX), a.value(nbOut)
	from := rowsByFour{fourths: []reg.GPVirtual{x}}
	if rows > 1 {
		from.stride = a.value(nbLDX)
		from.stride3 = times3(from.stride)
	}
	acc := make([]reg.VecVirtual, rows*columns)
	place := func(i int) Mem { return Mem{Base: out, Disp: i/columns*nbVector + i%columns*4*f.width()} }
	for i := range acc {
		acc[i] = f.load(place(i))
	}
	f.groups(a, columns, func(i int, weights []reg.VecVirtual) {
		for r := range rows {
			b := f.broadcast(from.row(r, 4*i))
			for c, w := range weights {
				VFMADD231PS(b, w, acc[r*columns+c])
			}
		}
	}, func(elements int) { ADDQ(step(4*elements), x) })
	for i, r := range acc {
		f.store(r, place(i))
	}
	end()
}

// widen writes the weights of half a panel as float32.
func (f nbFormat) widen(columns int) {
	a := f.text("widen")
	out, ld := a.value(nbOut), a.value(nbLDW)
	f.groups(a, columns, func(_ int, weights []reg.VecVirtual) {
		for c, w := range weights {
			f.store(w, Mem{Base: out, Disp: 4 * c * f.width()})
		}
		ADDQ(ld, out)
	}, func(int) {})
	end()
}

// groups writes the loops over groups and over the words of a column. Each gets the weights of
// element i since the last word, which has so many elements.
func (f nbFormat) groups(a argStruct, columns int, each func(i int, weights []reg.VecVirtual), word func(elements int)) {
	w, groups := a.value(nbW), a.value(nbGroups)
	var table reg.VecVirtual
	if f.looksUp() {
		table = f.load(f.numbers)
	}
	codes, left := GP64(), GP64()
	Label("group")
	LEAQ(Mem{Base: w, Disp: f.codesAt()}, codes)
	MOVQ(step(f.bits), left)
	at := func(c int) Mem { return Mem{Base: w, Disp: 4 * c * f.width()} }
	scales := make([]Op, columns)
	for c := range scales {
		scales[c] = at(c)
		if f.wide {
			scales[c] = f.load(at(c))
		}
	}
	Label("word")
	PREFETCHT0(Mem{Base: codes, Disp: 2048})
	PREFETCHT0(Mem{Base: codes, Disp: 2048 + 64})
	words := make([]reg.VecVirtual, columns)
	for c := range words {
		words[c] = f.load(Mem{Base: codes, Disp: 4 * c * f.width()})
	}
	elements := 32 / f.bits
	for i := range elements {
		weights := make([]reg.VecVirtual, columns)
		for c := range weights {
			x := f.number(words[c], i, table)
			if f.zeros {
				zero := at(c)
				zero.Disp += nbVector
				VSUBPS(zero, x, x)
			}
			VMULPS(scales[c], x, x)
			weights[c] = x
		}
		each(i, weights)
	}
	word(elements)
	ADDQ(step(nbVector), codes)
	DECQ(left)
	JNE(LabelRef("word"))
	MOVQ(codes, w)
	DECQ(groups)
	JNE(LabelRef("group"))
}

// table is the numbers of all indices of four bits.
func (f nbFormat) table() Mem {
	name := "numbers"
	if f.zeros {
		name += "Zeros"
	}
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i := range 16 {
		n := i
		if !f.zeros && n >= 8 {
			n -= 16
		}
		DATA(4*i, F32(n))
	}
	return m
}

// number is element i of words as float32.
func (f nbFormat) number(words reg.VecVirtual, i int, table reg.VecVirtual) reg.VecVirtual {
	x := f.reg()
	if table != nil {
		if i == 0 {
			VPERMPS(table, words, x)
			return x
		}
		VPSRLD(Imm(uint64(f.bits*i)), words, x)
		VPERMPS(table, x, x)
		return x
	}
	from := words
	if up := 32 - f.bits*(i+1); up > 0 {
		VPSLLD(Imm(uint64(up)), from, x)
		from = x
	}
	if down := Imm(uint64(32 - f.bits)); f.zeros {
		VPSRLD(down, from, x)
	} else {
		VPSRAD(down, from, x)
	}
	VCVTDQ2PS(x, x)
	return x
}
