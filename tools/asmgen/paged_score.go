package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pagedSpread writes d numbers, each as often as a block has tokens. Four of them make
// 16 numbers, which are stride bytes from the next ones.
func pagedSpread() {
	TEXT("spreadAVX2", NOSPLIT, "func(dst, q *float32, d, stride int)")
	Pragma("noescape")
	dst, q, left, stride := arg("dst"), arg("q"), arg("d"), arg("stride")
	var index [2]reg.VecVirtual
	for i, m := range []Mem{words("spreadFirst", 0, 0, 0, 0, 1, 1, 1, 1), words("spreadSecond", 2, 2, 2, 2, 3, 3, 3, 3)} {
		index[i] = YMM()
		VMOVDQU(m, index[i])
	}
	Label("loop")
	four := YMM()
	VBROADCASTF128(Mem{Base: q}, four)
	for i, x := range index {
		y := YMM()
		VPERMILPS(x, four, y)
		VMOVUPS(y, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(stride, dst)
	ADDQ(step(16), q)
	SUBQ(step(4), left)
	JNE(LabelRef("loop"))
	end()
}

// blocks is how many blocks of keys are taken at once: as many as leave room for
// the sums, so that the sums of few rows don't wait for each other.
func (k pagedKernel) blocks() int {
	switch parts := pagedTokens * 4 / k.width(); {
	case k.wide && k.rows > 6:
		return 2
	case k.wide || k.rows*parts == 2:
		return 4
	case k.rows*parts <= 6:
		return 2
	}
	return 1
}

// score writes the products of rows of q with the keys of blocks, so many groups of
// them, and has as many of another list fetched. A register of keys is
// four elements of four tokens, or two; q is spread to match, and has the rows' numbers
// side by side. So a product has four sums, which are added in the end.
func (k pagedKernel) score() {
	TEXT(k.name("score"), NOSPLIT, "func(dst, q *float32, list, fetch *uintptr, d, groups int, scale float32)")
	Pragma("noescape")
	Label("group")
	list, q := arg("list"), arg("q")
	n, parts := k.blocks(), pagedTokens*4/k.width()
	blocks, next := make([]reg.GPVirtual, n), make([]reg.GPVirtual, n)
	for i := range blocks {
		blocks[i] = GP64()
		MOVQ(Mem{Base: list, Disp: 8 * i}, blocks[i])
	}
	Load(Param("fetch"), list)
	for i := range next {
		next[i] = GP64()
		MOVQ(Mem{Base: list, Disp: 8 * i}, next[i])
	}
	sums := make([][][]reg.VecVirtual, k.rows) // of a row's blocks, parts of each
	for r := range sums {
		sums[r] = make([][]reg.VecVirtual, n)
		for i := range sums[r] {
			for range parts {
				sums[r][i] = append(sums[r][i], k.zero())
			}
		}
	}
	at, left := GP64(), arg("d")
	XORQ(at, at)
	const four = 16 // numbers of four elements of a block
	Label("loop")
	for half := range 2 {
		spread := func(r, p int) Mem { return Mem{Base: q, Disp: 4 * (four*(half*k.rows+r) + k.width()*p)} }
		keys := func(b, p int) reg.VecVirtual {
			return k.load(Mem{Base: blocks[b], Index: at, Scale: 1, Disp: k.size() * (four*half + k.width()*p)})
		}
		if k.wide {
			all := make([]reg.VecVirtual, n)
			for b := range all {
				all[b] = keys(b, 0)
			}
			for r := range sums {
				x := ZMM()
				VMOVUPS(spread(r, 0), x)
				for b := range all {
					VFMADD231PS(all[b], x, sums[r][b][0])
				}
			}
			continue
		}
		for b := range n {
			for p := range parts {
				y := keys(b, p)
				for r := range sums {
					VFMADD231PS(spread(r, p), y, sums[r][b][p])
				}
			}
		}
	}
	for _, b := range next {
		for line := 0; line < 2*four*k.size(); line += 64 {
			PREFETCHT1(Mem{Base: b, Index: at, Scale: 1, Disp: line})
		}
	}
	ADDQ(step(2*four*k.size()), at)
	ADDQ(step(4*2*four*k.rows), q)
	SUBQ(step(8), left)
	JNE(LabelRef("loop"))
	k.deliver(sums)
	ADDQ(step(8*n), memory("list")) // few registers are left
	ADDQ(step(8*n), memory("fetch"))
	ADDQ(step(4*pagedTokens*n), memory("dst"))
	DECQ(memory("groups"))
	JNE(LabelRef("group"))
	end()
}

// deliver adds up the four sums of each score, the first and third to the second and
// fourth, and writes the scores times scale.
func (k pagedKernel) deliver(sums [][][]reg.VecVirtual) {
	dst, scale := arg("dst"), k.param("scale")
	var all [][]reg.VecVirtual
	for _, row := range sums {
		all = append(all, row...)
	}
	n, each := len(sums[0]), k.width()/pagedTokens // blocks of a row and of a register
	for i := 0; i < len(all); i += each {
		group := make([][]reg.VecVirtual, each)
		for j := range group {
			group[j] = all[min(i+j, len(all)-1)]
		}
		s := k.fold(group)
		VMULPS(scale, s, s)
		at := func(block int) Mem {
			return Mem{Base: dst, Disp: block/n*pagedStride + 4*pagedTokens*(block%n)}
		}
		switch rest := i+each/2 < len(all); {
		case n >= each:
			VMOVUPS(s, at(i))
		case k.wide: // of two rows, or of the last
			VMOVUPS(s.AsY(), at(i))
			if rest {
				VEXTRACTF64X4(Imm(1), s, at(i+each/2))
			}
		default:
			VMOVUPS(s.AsX(), at(i))
			if rest {
				VEXTRACTF128(Imm(1), s, at(i+each/2))
			}
		}
	}
}

// fold makes the scores of a register of blocks' sums.
func (k pagedKernel) fold(b [][]reg.VecVirtual) reg.VecVirtual {
	if !k.wide {
		x, y, lo, hi := YMM(), YMM(), YMM(), YMM()
		VADDPS(b[0][1], b[0][0], x)
		VADDPS(b[1][1], b[1][0], y)
		VPERM2F128(Imm(0x20), y, x, lo)
		VPERM2F128(Imm(0x31), y, x, hi)
		VADDPS(hi, lo, lo)
		return lo
	}
	pair := func(x, y reg.VecVirtual, first, second uint64) reg.VecVirtual {
		lo, hi := ZMM(), ZMM()
		VSHUFF32X4(Imm(first), y, x, lo)
		VSHUFF32X4(Imm(second), y, x, hi)
		VADDPS(hi, lo, lo)
		return lo
	}
	return pair(pair(b[0][0], b[1][0], 0x44, 0xee), pair(b[2][0], b[3][0], 0x44, 0xee), 0x88, 0xdd)
}
