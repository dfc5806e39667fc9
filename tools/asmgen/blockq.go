package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["blockq"] = blockq }

// blockq writes the kernels of internal/kernels/blockq, where dispatch.go says
// what each must do, and layout.go how weights are packed.
func blockq() {
	for _, v := range []bqLevel{{}, {wide: true}} {
		for i := range bqFormats {
			f := &bqFormats[i]
			v.unpack(f)
			for _, rows := range v.directRows(f) {
				v.direct(f, rows)
			}
		}
		for _, k := range []bqKind{bqPlain, bqOffset, bqPair, bqTwoOffsets, bqSigned} {
			if v.wide && k == bqSigned {
				continue
			}
			for _, rows := range v.tileRows() {
				v.tile(k, rows)
			}
		}
		v.finish()
		v.half(1, 4)
		v.half(1, 1)
		v.half(4, 1)
		v.widen()
	}
	for _, k := range []bqKind{bqPlain, bqOffset, bqPair, bqTwoOffsets} {
		for _, r := range []int{8, 16} {
			bqAMX(k, r)
		}
	}
	bqQuantize()
}

// Offsets in bytes into the Go struct args.
const (
	bqW        = 0
	bqValues   = 8
	bqDW       = 16
	bqExtra    = 24
	bqQ        = 32
	bqD        = 40
	bqS        = 48
	bqC        = 56
	bqAcc      = 64
	bqUnits    = 72
	bqPanels   = 80
	bqBias     = 88
	bqRows     = 96
	bqZero     = 104
	bqSpill    = 112
	bqTiles    = 120
	bqTile     = 128
	bqPanel    = 136
	bqNext     = 144
	bqNextStep = 152
	bqConfig   = 160
)

// bqKind is what there is to do beside dot products.
type bqKind int

const (
	bqPlain bqKind = iota
	bqOffset
	bqPair
	bqTwoOffsets
	bqSigned // plain, where values are signed
)

func (k bqKind) String() string {
	return [...]string{"Plain", "Offset", "Pair", "TwoOffsets", "Signed"}[k]
}

// bqScales is how scales are packed.
type bqScales int

const (
	bqHalf bqScales = iota
	bqHalfMin
	bqE8M0
	bqSuper
	bqSuperI8
	bqSuperPair
	bqSuperQ2
	bqSingle
	bqSingleMin
)

// bqFormat describes a packed format as layout.go does.
type bqFormat struct {
	name      string
	low, high int
	scales    bqScales
	zero      int
	table     string // constant of 16 bytes
}

var bqFormats = []bqFormat{
	{"Q4_0", 4, 0, bqHalf, 8, ""},
	{"Q4_1", 4, 0, bqHalfMin, 0, ""},
	{"Q5_0", 4, 1, bqHalf, 16, ""},
	{"Q5_1", 4, 1, bqHalfMin, 0, ""},
	{"Q8_0", 8, 0, bqHalf, 0, ""},
	{"Q2_K", 2, 0, bqSuperQ2, 0, ""},
	{"Q3_K", 2, 1, bqSuperPair, 4, ""},
	{"Q4_K", 4, 0, bqSuper, 0, ""},
	{"Q5_K", 4, 1, bqSuper, 0, ""},
	{"Q6_K", 4, 2, bqSuperPair, 32, ""},
	{"IQ4_NL", 4, 0, bqHalf, 0, "valuesIQ4"},
	{"IQ4_XS", 4, 0, bqSuperI8, 0, "valuesIQ4"},
	{"MXFP4", 4, 0, bqE8M0, 0, "valuesE2M1"},
	{"N4", 4, 0, bqSingle, 8, ""},
	{"N4Zero", 4, 0, bqSingleMin, 0, ""},
	{"N8", 8, 0, bqSingle, 0, ""},
}

var bqTables = map[string][]int8{
	"valuesIQ4":  {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
	"valuesE2M1": {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12},
}

func (f *bqFormat) kind() bqKind {
	switch f.scales {
	case bqHalfMin, bqSuper, bqSingleMin:
		return bqOffset
	case bqSuperPair:
		return bqPair
	case bqSuperQ2:
		return bqTwoOffsets
	}
	return bqPlain
}

// signed: the codes stand for signed bytes.
func (f *bqFormat) signed() bool { return f.table != "" || f.low == 8 }

func (f *bqFormat) headerBytes() int {
	switch f.scales {
	case bqSuper, bqSuperQ2:
		return 64
	case bqSuperI8, bqSuperPair:
		return 32
	}
	return 0
}

func (f *bqFormat) scaleBytes() int {
	switch f.scales {
	case bqHalfMin, bqSingle:
		return 64
	case bqSingleMin:
		return 128
	case bqE8M0, bqSuperI8:
		return 16
	}
	return 32
}

func (f *bqFormat) groupBytes() int { return f.scaleBytes() + 64*(f.low+f.high) }

// bqLevel is AVX2, which does the 16 columns of a panel in two halves, or
// AVX-512 with VNNI.
type bqLevel struct{ wide bool }

func (v bqLevel) suffix() string {
	if v.wide {
		return "512"
	}
	return "256"
}

// tileRows are the sizes of tiles.
func (v bqLevel) tileRows() []int {
	if v.wide {
		return []int{1, 4, 8}
	}
	return []int{1, 2, 4}
}

// directRows are the rows that direct kernels take: what there are registers for.
func (v bqLevel) directRows(f *bqFormat) []int {
	switch {
	case !v.wide:
		return []int{1}
	case f.kind() == bqPair:
		return []int{1, 4}
	}
	return []int{1, 4, 8}
}

// halves of a panel that a register doesn't hold.
func (v bqLevel) halves() int {
	if v.wide {
		return 1
	}
	return 2
}

func (v bqLevel) reg() reg.VecVirtual {
	if v.wide {
		return ZMM()
	}
	return YMM()
}

func (v bqLevel) zeroed() reg.VecVirtual {
	r := v.reg()
	v.clear(r)
	return r
}

func (v bqLevel) clear(r reg.VecVirtual) {
	if v.wide {
		VPXORD(r, r, r)
		return
	}
	VPXOR(r, r, r)
}

func (v bqLevel) and(b Op, a, dst reg.VecVirtual) {
	if v.wide {
		VPANDD(b, a, dst)
		return
	}
	VPAND(b, a, dst)
}

func (v bqLevel) or(b Op, a, dst reg.VecVirtual) {
	if v.wide {
		VPORD(b, a, dst)
		return
	}
	VPOR(b, a, dst)
}

func (v bqLevel) xor(b Op, a, dst reg.VecVirtual) {
	if v.wide {
		VPXORD(b, a, dst)
		return
	}
	VPXOR(b, a, dst)
}

func (v bqLevel) load(m Mem, r reg.VecVirtual) {
	if v.wide {
		VMOVDQU32(m, r)
		return
	}
	VMOVDQU(m, r)
}

func (v bqLevel) store(r reg.VecVirtual, m Mem) {
	if v.wide {
		VMOVDQU32(r, m)
		return
	}
	VMOVDQU(r, m)
}

// constant is a word in every lane.
func (v bqLevel) constant(w uint32) reg.VecVirtual {
	r := v.reg()
	VPBROADCASTD(bitsConst(w), r)
	return r
}

// mask is a constant operand.
func (v bqLevel) mask(w uint32) Op {
	if v.wide {
		return v.constant(w)
	}
	return bitsConst(w)
}

func bytes4(b int) uint32 { return uint32(byte(b)) * 0x01010101 }

// bqReader takes packed groups apart.
type bqReader struct {
	bqLevel
	f        *bqFormat
	w        reg.GPVirtual // at a group, or a header
	lowMask  Op            // in memory for AVX2, which is short of registers
	highMask Op
	table    reg.VecVirtual
	dh, mh   []reg.VecVirtual // of the header: d, and -dmin, for each half of the columns
}

func (v bqLevel) reader(f *bqFormat, w reg.GPVirtual) *bqReader {
	r := &bqReader{bqLevel: v, f: f, w: w}
	if f.low < 8 {
		r.lowMask = v.mask(bytes4(1<<f.low - 1))
	}
	if f.high > 0 {
		r.highMask = v.mask(bytes4((1<<f.high - 1) << f.low))
	}
	if f.table != "" {
		words := make([]uint32, 4)
		for i, x := range bqTables[f.table] {
			words[i/4] |= uint32(byte(x)) << (i % 4 * 8)
		}
		m := (&gemmKernel{}).constant(f.table, words)
		r.table = v.reg()
		if v.wide {
			VBROADCASTI32X4(m, r.table)
		} else {
			VBROADCASTI128(m, r.table)
		}
	}
	return r
}

// at is disp bytes into 16 columns' numbers of the given bytes each, for half h.
func (r *bqReader) at(disp, size, h int) Mem {
	return Mem{Base: r.w, Disp: disp + 8*size*h}
}

// header reads the scales of a superblock and moves on.
func (r *bqReader) header() {
	if r.f.headerBytes() == 0 {
		return
	}
	r.dh, r.mh = nil, nil
	for h := range r.halves() {
		d := r.reg()
		VCVTPH2PS(r.at(0, 2, h), d)
		r.dh = append(r.dh, d)
		if r.f.headerBytes() == 64 {
			m := r.reg()
			VCVTPH2PS(r.at(32, 2, h), m)
			r.xor(r.mask(0x80000000), m, m)
			r.mh = append(r.mh, m)
		}
	}
	ADDQ(Imm(uint64(r.f.headerBytes())), r.w)
}

// float converts 16 bytes, or 8 for half h, at disp.
func (r *bqReader) float(disp, h int, signed bool) reg.VecVirtual {
	x := r.reg()
	if signed {
		VPMOVSXBD(r.at(disp, 1, h), x)
	} else {
		VPMOVZXBD(r.at(disp, 1, h), x)
	}
	VCVTDQ2PS(x, x)
	return x
}

func (r *bqReader) times(a, b reg.VecVirtual) reg.VecVirtual {
	VMULPS(a, b, b)
	return b
}

// scales gives the scale of half h of the columns, and what else the kind has:
// a negative minimum, or one or an integer for each half of K.
func (r *bqReader) scales(h int) (dw reg.VecVirtual, extra []reg.VecVirtual) {
	half := func(disp int) reg.VecVirtual {
		x := r.reg()
		VCVTPH2PS(r.at(disp, 2, h), x)
		return x
	}
	single := func(disp int) reg.VecVirtual {
		x := r.reg()
		r.load(r.at(disp, 4, h), x)
		return x
	}
	switch r.f.scales {
	case bqSingle:
		return single(0), nil
	case bqSingleMin:
		return single(0), []reg.VecVirtual{single(64)}
	case bqHalf:
		return half(0), nil
	case bqHalfMin:
		return half(0), []reg.VecVirtual{half(32)}
	case bqE8M0:
		return r.exponent(h), nil
	case bqSuper:
		return r.times(r.dh[h], r.float(0, h, false)), []reg.VecVirtual{r.times(r.mh[h], r.float(16, h, false))}
	case bqSuperI8:
		return r.times(r.dh[h], r.float(0, h, true)), nil
	case bqSuperPair:
		return r.dh[h], []reg.VecVirtual{r.float(0, h, true), r.float(16, h, true)}
	}
	for k := range 2 {
		m := r.reg()
		VPMOVZXBD(r.at(16*k, 1, h), m)
		VPSRLD(Imm(4), m, m)
		VCVTDQ2PS(m, m)
		extra = append(extra, r.times(r.mh[h], m))
	}
	return r.dh[h], extra
}

// factors gives what multiplies the codes of Q2_K, in each half of K.
func (r *bqReader) factors(h int) (f []reg.VecVirtual) {
	if r.f.scales != bqSuperQ2 {
		return nil
	}
	for k := range 2 {
		x, m := r.reg(), r.reg()
		VPMOVZXBD(r.at(16*k, 1, h), x)
		r.and(r.mask(15), x, x)
		VPSLLD(Imm(16), x, m)
		r.or(m, x, x)
		f = append(f, x)
	}
	return f
}

// exponent is 2^(e-128): exponents 0 and 1 give subnormal numbers.
func (r *bqReader) exponent(h int) reg.VecVirtual {
	e, small, one := r.reg(), r.constant(1<<21), r.constant(1)
	VPMOVZXBD(r.at(0, 1, h), e)
	shift := r.reg()
	VPMINUD(one, e, shift)
	VPSLLVD(shift, small, small)
	VPSUBD(one, e, e)
	VPSLLD(Imm(23), e, e)
	VPMAXSD(small, e, e)
	return e
}

// codes gives the codes of 32 elements and half h of the columns to emit, two
// neighbouring quads at a time, low quads first where that costs nothing.
func (r *bqReader) codes(h int, emit func(t int, a, b reg.VecVirtual)) {
	planes := r.f.scaleBytes()
	plane := func(v int) reg.VecVirtual {
		x := r.reg()
		r.load(Mem{Base: r.w, Disp: planes + 64*v + 32*h}, x)
		return x
	}
	var high [2]reg.VecVirtual
	for i := range r.f.high {
		if r.wide {
			high[i] = plane(r.f.low + i)
		}
	}
	for v := 0; v < r.f.low; v += 2 {
		low := [2]reg.VecVirtual{plane(v), plane(v + 1)}
		for s := range 8 / r.f.low {
			t := v + s*r.f.low
			var c [2]reg.VecVirtual
			for i := range c {
				p := i % max(1, r.f.high)
				if r.f.high > 0 && !r.wide {
					high[p] = plane(r.f.low + p)
				}
				c[i] = r.code(low[i], high[p], t+i)
			}
			emit(t, c[0], c[1])
		}
	}
}

// code is quad t of a vector of low bits and one of high bits.
func (r *bqReader) code(low, high reg.VecVirtual, t int) reg.VecVirtual {
	f := r.f
	if f.low == 8 {
		return low
	}
	x := r.reg()
	if s := t / f.low * f.low; s > 0 {
		VPSRLW(Imm(uint64(s)), low, x)
		r.and(r.lowMask, x, x)
	} else {
		r.and(r.lowMask, low, x)
	}
	if f.high > 0 {
		at := t
		if f.high == 2 {
			at = t / 2 * 2
		}
		y := high // which may be shifted in place where it was read for this
		switch s := f.low - at; {
		case s > 0:
			if r.wide {
				y = r.reg()
			}
			VPSLLW(Imm(uint64(s)), high, y)
		case s < 0:
			if r.wide {
				y = r.reg()
			}
			VPSRLW(Imm(uint64(-s)), high, y)
		}
		if r.wide {
			VPTERNLOGD(Imm(0xf8), r.highMask, y, x) // x | y & mask
		} else {
			VPAND(r.highMask, y, y)
			VPOR(y, x, x)
		}
	}
	if f.table != "" {
		VPSHUFB(x, r.table, x)
	}
	return x
}

// units loops over the panel's units and their groups; BX-like counters are
// virtual. body is one group.
func (r *bqReader) units(units reg.GPVirtual, body func()) {
	Label("unit")
	if r.f.headerBytes() == 0 {
		body()
	} else {
		r.header()
		groups := GP64()
		MOVQ(U32(8), groups)
		Label("group")
		body()
		DECQ(groups)
		JNE(LabelRef("group"))
	}
	DECQ(units)
	JNE(LabelRef("unit"))
}

// next moves on to the next group.
func (r *bqReader) next() { ADDQ(U32(uint32(r.f.groupBytes())), r.w) }

// prefetch asks for what follows two KiB on.
func (r *bqReader) prefetch() {
	for at := 0; at < r.f.groupBytes(); at += 64 {
		PREFETCHT0(Mem{Base: r.w, Disp: at + 2048})
	}
}

// bqArgs reads fields of args.
type bqArgs struct{ p reg.GPVirtual }

func bqText(name string) bqArgs {
	TEXT(name, NOSPLIT, "func(a *byte)")
	Pragma("noescape")
	return bqArgs{Load(Param("a"), GP64()).(reg.GPVirtual)}
}

func (a bqArgs) field(off int) Mem { return Mem{Base: a.p, Disp: off} }

func (a bqArgs) load(off int) reg.GPVirtual {
	r := GP64()
	MOVQ(a.field(off), r)
	return r
}

// unpack writes the values of a panel's codes, with bias, and its scales.
func (v bqLevel) unpack(f *bqFormat) {
	a := bqText(fmt.Sprintf("unpack%s%s", v.suffix(), f.name))
	r := v.reader(f, a.load(bqW))
	values, dw, extra, units := a.load(bqValues), a.load(bqDW), a.load(bqExtra), a.load(bqUnits)
	bias := v.reg()
	VPBROADCASTD(a.field(bqBias), bias)
	if f.zero != 0 {
		VPSUBB(v.constant(bytes4(f.zero)), bias, bias)
	}
	halves := 1
	if k := f.kind(); k == bqPair || k == bqTwoOffsets {
		halves = 2
	}
	r.units(units, func() {
		r.prefetch()
		for h := range v.halves() {
			d, more := r.scales(h)
			v.store(d, Mem{Base: dw, Disp: 32 * h})
			for i, x := range more {
				v.store(x, Mem{Base: extra, Disp: 64*i + 32*h})
			}
			factors := r.factors(h)
			r.codes(h, func(t int, x, y reg.VecVirtual) {
				for i, c := range []reg.VecVirtual{x, y} {
					out := c
					if factors != nil {
						VPMULLW(factors[t/4], c, out)
					}
					VPADDB(bias, out, out)
					v.store(out, Mem{Base: values, Disp: 64*(t+i) + 32*h})
				}
			})
		}
		r.next()
		ADDQ(U32(512), values)
		ADDQ(Imm(64), dw)
		if f.kind() != bqPlain {
			ADDQ(U32(uint32(64*halves)), extra)
		}
	})
	VZEROUPPER()
	RET()
}
