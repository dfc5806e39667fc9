package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The formats of most models have kernels that pack a whole panel, block by block, and
// fetch the next one meanwhile: products of weights that are not packed yet wait for them.

// cols is how many rows are the columns of a panel.
const cols = 16

// packPanels writes these kernels.
func packPanels() {
	order := GLOBL("packOrder", attr.RODATA|attr.NOPTR) // bytes of a lane's four words by their place within a word
	for i := range 32 {
		DATA(i, U8(i%4*4+i%16/4))
	}
	simplePanel("Q4_0", 4)
	simplePanel("Q8_0", 8)
	minimumPanel("Q4_1", false)
	minimumPanel("Q5_1", true)
	panelQ5_0()
	panelMXFP4()
	superPanelQ4K(order, false)
	superPanelQ4K(order, true)
	superPanelQ6K(order)
	superPanelQ2K(order)
	superPanelQ3K(order)
	superPanelIQ4XS(order)
}

func init() { families["blockq_pack"] = packPanels }

// rowReader addresses four rows.
type rowReader struct{ p, stride, three reg.GPVirtual }

// at is where some bytes of row i are.
func (r *rowReader) at(i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: r.p, Disp: disp}
	case 3:
		return Mem{Base: r.p, Index: r.three, Scale: 1, Disp: disp}
	}
	return Mem{Base: r.p, Index: r.stride, Scale: uint8(i), Disp: disp}
}

// panelPacker is what the kernels share: 16 rows by four pointers.
type panelPacker struct {
	dst, ahead reg.Register
	rows       [4]rowReader // of four rows each
	block      int          // bytes of a row's block
	order      Mem
	mask       reg.VecVirtual // of the low halves of bytes
}

func newPanelPacker(name string, block int) *panelPacker {
	TEXT("pack"+name+"AVX2", NOSPLIT, "func(dst, src *byte, stride, blocks int)")
	Doc("packs so many blocks of " + name + " of each of 16 rows, which lie stride bytes apart.")
	Pragma("noescape")
	p := &panelPacker{dst: Load(Param("dst"), GP64()), block: block}
	src, stride, three := Load(Param("src"), GP64()), GP64(), GP64()
	Load(Param("stride"), stride)
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)
	base := src
	for i := range p.rows {
		at := GP64()
		if i == 0 {
			MOVQ(src, at)
		} else {
			LEAQ(Mem{Base: base, Index: stride, Scale: 4}, at)
		}
		p.rows[i] = rowReader{p: at, stride: stride, three: three}
		base = at
	}
	ahead := GP64()
	LEAQ(Mem{Base: base, Index: stride, Scale: 4}, ahead)
	p.ahead = ahead
	return p
}

// each repeats what packs a block.
func (p *panelPacker) each(packed int, body func()) {
	left := Load(Param("blocks"), GP64())
	Label("block")
	for at := 0; at < cols*p.block; at += 64 {
		PREFETCHT1(Mem{Base: p.ahead, Disp: at})
	}
	body()
	ADDQ(step(cols*p.block), p.ahead)
	for _, r := range p.rows {
		ADDQ(step(p.block), r.p)
	}
	ADDQ(step(packed), p.dst)
	DECQ(left)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// row is where some bytes of a row are.
func (p *panelPacker) row(i, disp int) Mem {
	return p.rows[i/4].at(i%4, disp)
}

// pair reads 16 bytes of rows i and i+4 into the lanes of a vector.
func (p *panelPacker) pair(i, disp int) reg.VecVirtual {
	v := YMM()
	VBROADCASTI128(p.row(i, disp), v) // a load of the lower lane alone would leave the other open
	VINSERTI128(Imm(1), p.row(i+4, disp), v, v)
	return v
}

// words reads 16 bytes of 8 rows, and gives their four words: of each, those of all rows.
func (p *panelPacker) words(half, disp int) []reg.VecVirtual {
	v := make([]reg.VecVirtual, 4)
	for i := range v {
		v[i] = p.pair(8*half+i, disp)
	}
	return vectorLevels[1].quads(v)
}

// halves writes 16-bit numbers of all rows side by side.
func (p *panelPacker) halves(to, disp int) {
	for half := range 2 {
		v := XMM()
		VPXOR(v, v, v)
		for i := range 8 {
			VPINSRW(Imm(uint64(i)), p.row(8*half+i, disp), v, v)
		}
		VMOVUPS(v, Mem{Base: p.dst, Disp: to + 16*half})
	}
}

// codes writes 16 bytes of all rows as four vectors.
func (p *panelPacker) codes(to, disp int) {
	for half := range 2 {
		for i, x := range p.words(half, disp) {
			VMOVUPS(x, Mem{Base: p.dst, Disp: to + 64*i + 32*half})
		}
	}
}

// simplePanel is for formats of a scale and so many vectors of codes.
func simplePanel(name string, vectors int) {
	p := newPanelPacker(name, 2+4*vectors)
	p.each(2*cols+64*vectors, func() {
		p.halves(0, 0)
		for v := 0; v < vectors; v += 4 {
			p.codes(2*cols+64*v, 2+4*v)
		}
	})
}

// lowHalves is a mask of the low halves of bytes.
func lowHalves() reg.VecVirtual {
	mask := YMM()
	VPCMPEQB(mask, mask, mask)
	VPSRLW(Imm(12), mask, mask)
	VPACKUSWB(mask, mask, mask)
	return mask
}

// nibbles writes the low halves of 32 bytes of all rows as four vectors, and the high
// ones as others some bytes on: of each, those of the last 16 bytes go above the first.
func (p *panelPacker) nibbles(to, apart, disp int) {
	for half := range 2 {
		low, up := make([]reg.VecVirtual, 4), make([]reg.VecVirtual, 4)
		for i := range low {
			first, last := p.pair(8*half+i, disp), p.pair(8*half+i, disp+16)
			low[i], up[i] = p.mixed(first, last)
		}
		for v, set := range [][]reg.VecVirtual{low, up} {
			for i, x := range vectorLevels[1].quads(set) {
				VMOVUPS(x, Mem{Base: p.dst, Disp: to + apart*v + 64*i + 32*half})
			}
		}
	}
}

// mixed gives the low halves of two vectors' bytes as bytes, and the high ones.
func (p *panelPacker) mixed(first, last reg.VecVirtual) (low, up reg.VecVirtual) {
	low, up = YMM(), YMM()
	VPSRLW(Imm(4), first, up)
	VPAND(p.mask, up, up)
	VPAND(p.mask, first, low)
	VPANDN(last, p.mask, first)
	VPOR(first, up, up)
	VPAND(p.mask, last, last)
	VPSLLW(Imm(4), last, last)
	VPOR(last, low, low)
	return low, up
}

// bytes writes the four bytes of a word of each row: of each, those of all rows side by
// side, some bytes apart from the next.
func (p *panelPacker) bytes(first, second reg.VecVirtual, to [4]int) {
	a, b := YMM(), YMM()
	VPERM2I128(Imm(0x20), second, first, a)
	VPERM2I128(Imm(0x31), second, first, b)
	VPSHUFB(p.order, a, a)
	VPSHUFB(p.order, b, b)
	for i := range 2 {
		v := YMM()
		if i == 0 {
			VPUNPCKLDQ(b, a, v)
		} else {
			VPUNPCKHDQ(b, a, v)
		}
		VPERMQ(Imm(0xd8), v, v)
		VMOVUPS(v.AsX(), Mem{Base: p.dst, Disp: to[2*i]})
		VEXTRACTI128(Imm(1), v, Mem{Base: p.dst, Disp: to[2*i+1]})
	}
}

// scales writes what is in the low and the high halves of the words of 16 rows: a number of
// each row, and then another of each.
func (p *panelPacker) scales(to int, first, second reg.VecVirtual) {
	for v := range 2 {
		x, y := YMM(), YMM()
		for i, half := range []reg.VecVirtual{x, y} {
			w := []reg.VecVirtual{first, second}[i]
			if v == 0 {
				VPSLLD(Imm(16), w, half)
				VPSRLD(Imm(16), half, half)
			} else {
				VPSRLD(Imm(16), w, half)
			}
		}
		VPACKUSDW(y, x, x)
		VPERMQ(Imm(0xd8), x, x)
		VMOVUPS(x, Mem{Base: p.dst, Disp: to + 2*cols*v})
	}
}

// superPanelQ4K writes the kernel of Q4_K: two scales, and of eight groups a scale and a
// minimum of 6 bits and codes of 4. Those of Q5_K have a fifth bit, which lies before.
func superPanelQ4K(order Mem, fifth bool) {
	const header = 4 * cols
	name, block, group, codes := "Q4_K", 144, 2*cols+4*64, 16
	if fifth {
		name, block, group, codes = "Q5_K", 176, 2*cols+5*64, 48
	}
	p := newPanelPacker(name, block)
	p.order, p.mask = order, lowHalves()
	six := YMM()
	VPSLLW(Imm(2), p.mask, six) // bits 2 to 5
	VPOR(p.mask, six, six)      // and 0 to 3
	p.each(header+8*group, func() {
		words := [2][]reg.VecVirtual{p.words(0, 0), p.words(1, 0)}
		p.scales(0, words[0][0], words[1][0]) // d, and then dmin
		for g := range 2 {                    // four groups each
			for v := range 2 { // scales, and then minimums
				var x [2]reg.VecVirtual
				for half := range x {
					x[half] = YMM()
					w := words[half]
					if g == 0 {
						VPAND(six, w[1+v], x[half])
						continue
					}
					top := YMM() // the upper two bits lie above the six of the first four groups
					VPSRLW(Imm(2), w[1+v], top)
					VPANDN(top, p.mask, top)
					VPAND(six, top, top)
					if v == 0 {
						VPAND(p.mask, w[3], x[half])
					} else {
						VPSRLW(Imm(4), w[3], x[half])
						VPAND(p.mask, x[half], x[half])
					}
					VPOR(top, x[half], x[half])
				}
				var to [4]int
				for i := range to {
					to[i] = header + (4*g+i)*group + cols*v
				}
				p.bytes(x[0], x[1], to)
			}
		}
		for i := range 4 {
			p.nibbles(header+2*i*group+2*cols, group, codes+32*i)
		}
		if fifth {
			p.bits(header+2*cols+4*64, group, 16)
		}
	})
}

// superPanelQ6K writes the kernel of Q6_K: a scale, and of eight groups two scales of 8
// bits, the low 4 bits of codes and the high 2.
func superPanelQ6K(order Mem) {
	const header, group = 2 * cols, 2*cols + 6*64
	p := newPanelPacker("Q6_K", 210)
	p.order, p.mask = order, lowHalves()
	p.each(header+8*group, func() {
		p.halves(0, 208)
		p.groupBytes(header, group, p.words(0, 192), p.words(1, 192))
		for i := range 4 {
			p.nibbles(header+(i/2*4+i%2)*group+2*cols, 2*group, 32*i)
		}
		p.quarters(header+2*cols+4*64, group, 128)
	})
}

// pairs writes 2 bits each of 32 bytes of 8 rows as two vectors, and the next 2 bits as
// others some bytes on: of each, those of the four words of an eighth go above each other.
func (p *panelPacker) pairs(to, apart, row, disp int) {
	even := YMM()
	VPSRLW(Imm(2), p.mask, even)
	VPAND(p.mask, even, even) // bits 0 and 1
	t := YMM()
	VPSLLW(Imm(4), even, t)
	VPOR(t, even, even) // and 4 and 5
	var nibbles [4][]reg.VecVirtual
	for i := range 4 {
		first, last := p.pair(row+i, disp), p.pair(row+i, disp+16)
		low, up := p.mixed(first, last)
		nibbles[0], nibbles[1] = append(nibbles[0], low), append(nibbles[1], up)
	}
	for v, set := range nibbles[:2] {
		q := vectorLevels[1].quads(set) // words 0 and 4, 1 and 5, 2 and 6, 3 and 7
		for odd := range 2 {
			a, b := q[odd], q[odd+2] // the first has words of an eighth 0 and 2, the second 1 and 3
			x, y, z := YMM(), YMM(), YMM()
			VPAND(even, b, x)
			VPSLLW(Imm(2), x, x)
			VPAND(even, a, y)
			VPOR(y, x, x)
			VMOVUPS(x, Mem{Base: p.dst, Disp: to + 2*v*apart + 64*odd})
			VPANDN(b, even, z)
			VPANDN(a, even, y)
			VPSRLW(Imm(2), y, y)
			VPOR(y, z, z)
			VMOVUPS(z, Mem{Base: p.dst, Disp: to + (2*v+1)*apart + 64*odd})
		}
	}
}
