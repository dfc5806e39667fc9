package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// minimumPanel is for formats of a scale, a minimum and codes of 4 bits, or of 5.
func minimumPanel(name string, fifth bool) {
	block, packed := 20, 4*cols+4*64
	if fifth {
		block, packed = 24, 4*cols+5*64
	}
	p := newPanelPacker(name, block)
	p.each(packed, func() {
		words := [2][]reg.VecVirtual{p.words(0, 0), p.words(1, 0)}
		p.scales(0, words[0][0], words[1][0])
		if fifth {
			for half, w := range words {
				p.fifths(4*cols+4*64+32*half, w[1])
			}
		}
		p.codes(4*cols, block-16)
	})
}

func panelQ5_0() {
	p := newPanelPacker("Q5_0", 22)
	p.each(2*cols+5*64, func() {
		p.halves(0, 0)
		for half := range 2 {
			p.fifths(2*cols+4*64+32*half, p.words(half, 2)[0])
		}
		p.codes(2*cols, 6)
	})
}

func panelMXFP4() {
	p := newPanelPacker("MXFP4", 17)
	p.each(cols+4*64, func() {
		exponents := XMM()
		VPXOR(exponents, exponents, exponents)
		for j := range cols {
			VPINSRB(Imm(uint64(j)), p.row(j, 0), exponents, exponents)
		}
		VMOVUPS(exponents, Mem{Base: p.dst})
		p.codes(cols, 1)
	})
}

// fifths writes a bit of 32 codes of each of 8 rows: bit 4·t + i of x to bit t of byte i.
func (p *panelPacker) fifths(to int, x reg.VecVirtual) {
	all, y, shifted := YMM(), YMM(), YMM()
	for i := range 4 {
		VPSRLD(Imm(uint64(i)), x, y)
		VPAND(bitsConst(0x11111111), y, y)
		for _, step := range []struct{ shift, mask uint32 }{{3, 0x03030303}, {6, 0x000f000f}, {12, 0x000000ff}} {
			VPSRLD(Imm(uint64(step.shift)), y, shifted)
			VPOR(shifted, y, y)
			VPAND(bitsConst(step.mask), y, y)
		}
		if i == 0 {
			VMOVDQA(y, all)
			continue
		}
		VPSLLD(Imm(uint64(8*i)), y, y)
		VPOR(y, all, all)
	}
	VMOVUPS(all, Mem{Base: p.dst, Disp: to})
}

// bits writes a bit of each of 32 bytes of all rows as a vector, and the next bits as others
// some bytes apart: of each, that of byte 4·t + i goes to bit t of byte i.
func (p *panelPacker) bits(to, apart, disp int) {
	for half := range 2 {
		w := append(p.words(half, disp), p.words(half, disp+16)...)
		t := YMM()
		for _, swap := range []struct{ by, mask uint32 }{{1, 0x55555555}, {2, 0x33333333}, {4, 0x0f0f0f0f}} { // bit n of word m with bit m of word n, in the end
			for m := range w {
				if m&int(swap.by) != 0 {
					continue
				}
				low, high := w[m], w[m+int(swap.by)]
				VPSRLW(Imm(uint64(swap.by)), low, t)
				VPXOR(high, t, t)
				VPAND(bitsConst(swap.mask), t, t)
				VPXOR(t, high, high)
				VPSLLW(Imm(uint64(swap.by)), t, t)
				VPXOR(t, low, low)
			}
		}
		for i, x := range w {
			VMOVUPS(x, Mem{Base: p.dst, Disp: to + apart*i + 32*half})
		}
	}
}

// superPanelQ2K writes the kernel of Q2_K: two scales, and of eight groups two bytes of
// scales and codes of 2 bits.
func superPanelQ2K(order Mem) {
	const header, group = 4 * cols, 2*cols + 2*64
	p := newPanelPacker("Q2_K", 84)
	p.order, p.mask = order, lowHalves()
	p.each(header+8*group, func() {
		p.scales(0, p.words(0, 68)[3], p.words(1, 68)[3])
		p.groupBytes(header, group, p.words(0, 0), p.words(1, 0))
		p.quarters(header+2*cols, group, 16)
	})
}

// groupBytes writes bytes of eight groups, two each, as words of 8 rows and of 8 others have
// them.
func (p *panelPacker) groupBytes(to, group int, first, second []reg.VecVirtual) {
	for w := range first {
		at := to + 2*w*group
		p.bytes(first[w], second[w], [4]int{at, at + cols, at + group, at + group + cols})
	}
}

// quarters writes 2 bits each of 64 bytes of all rows: two vectors of each of eight groups.
func (p *panelPacker) quarters(to, group, disp int) {
	for i := range 2 {
		for half := range 2 {
			p.pairs(to+4*i*group+32*half, group, 8*half, disp+32*i)
		}
	}
}

// superPanelQ3K writes the kernel of Q3_K: a scale, and of eight groups two scales of 6 bits,
// the low 2 bits of codes and the third.
func superPanelQ3K(order Mem) {
	const header, group = 2 * cols, 2*cols + 3*64
	p := newPanelPacker("Q3_K", 110)
	p.order, p.mask = order, lowHalves()
	p.each(header+8*group, func() {
		p.halves(0, 108)
		var words [2][]reg.VecVirtual // the low halves of scales in two, the upper bits of all in the third
		for half := range words {
			v := make([]reg.VecVirtual, 4)
			for i := range v {
				v[i] = p.pair(8*half+i, 94) // which ends with the block
				VPSRLDQ(Imm(2), v[i], v[i])
			}
			words[half] = vectorLevels[1].quads(v)[:3]
		}
		for i := range 4 { // four scales each
			var x [2]reg.VecVirtual
			for half, w := range words {
				low, top := YMM(), YMM()
				p.shift(w[i%2], i/2*4, low)
				VPAND(p.mask, low, low)
				p.shift(w[2], 2*i, top)
				VPAND(bitsConst(0x03030303), top, top)
				x[half] = p.six(low, top)
			}
			at := header + 2*i*group
			p.bytes(x[0], x[1], [4]int{at, at + cols, at + group, at + group + cols})
		}
		p.quarters(header+2*cols, group, 32)
		p.bits(header+2*cols+2*64, group, 0)
	})
}

// shift moves words to the right.
func (p *panelPacker) shift(x reg.VecVirtual, by int, to reg.VecVirtual) {
	if by == 0 {
		VMOVDQA(x, to)
		return
	}
	VPSRLD(Imm(uint64(by)), x, to)
}

// six joins the low four bits and the two above them, less 32.
func (p *panelPacker) six(low, top reg.VecVirtual) reg.VecVirtual {
	VPSLLD(Imm(4), top, top)
	VPOR(top, low, low)
	VPSUBB(bitsConst(0x20202020), low, low)
	return low
}

// superPanelIQ4XS writes the kernel of IQ4_XS: a scale, and of eight groups a scale of 6 bits
// and codes of 4.
func superPanelIQ4XS(order Mem) {
	const header, group = 2 * cols, cols + 4*64
	p := newPanelPacker("IQ4_XS", 136)
	p.order, p.mask = order, lowHalves()
	p.each(header+8*group, func() {
		p.halves(0, 0)
		words := [2][]reg.VecVirtual{p.words(0, 0)[:2], p.words(1, 0)[:2]}
		spread := func(x reg.VecVirtual, by int, masks [2]uint32) { // four numbers of a word, to its bytes
			t := YMM()
			for i, mask := range masks {
				VPSLLD(Imm(uint64(by>>i)), x, t)
				VPOR(t, x, x)
				VPAND(bitsConst(mask), x, x)
			}
		}
		for i := range 2 { // four groups each
			var x [2]reg.VecVirtual
			for half, w := range words {
				low, top := YMM(), YMM()
				if i == 0 {
					VPSLLD(Imm(16), w[1], low)
					VPSRLD(Imm(16), low, low)
				} else {
					VPSRLD(Imm(16), w[1], low)
				}
				spread(low, 8, [2]uint32{0x00ff00ff, 0x0f0f0f0f})
				VPSRLD(Imm(uint64(16+8*i)), w[0], top)
				VPAND(bitsConst(0xff), top, top)
				spread(top, 12, [2]uint32{0x000f000f, 0x03030303})
				x[half] = p.six(low, top)
			}
			var to [4]int
			for g := range to {
				to[g] = header + (4*i+g)*group
			}
			p.bytes(x[0], x[1], to)
		}
		for g := range 8 {
			p.codes(header+g*group+cols, 8+16*g)
		}
	})
}
