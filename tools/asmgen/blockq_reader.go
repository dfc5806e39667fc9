package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bqReader takes packed groups apart.
type bqReader struct {
	bqLevel
	f        *bqFormat
	w        reg.Register // at a group, or a header
	ahead    reg.Register // bytes from w to what is prefetched
	far      reg.Register // bytes from w to what the second-level cache prefetches, or nil
	lowMask  Op           // in memory for AVX2, which is short of registers
	highMask Op
	table    reg.VecVirtual
	dh, mh   [2]reg.VecVirtual // of the header: d, and -dmin, for each half of the columns
	columns  []int             // halves of the columns that are read
	thrifty  bool              // reads bits again rather than hold them: few registers are left
}

func (v bqLevel) reader(f *bqFormat, a argStruct) *bqReader {
	r := &bqReader{bqLevel: v, f: f, w: a.value(bqW), ahead: a.value(bqAhead), thrifty: !v.wide, columns: []int{0, 1}[:v.halves()]}
	if v.wide {
		r.far = a.value(bqFar)
	}
	r.masks()
	return r
}

// masks loads what takes codes out of bytes, and what they stand for.
func (r *bqReader) masks() {
	f := r.f
	if f.low < 8 {
		r.lowMask = r.mask(bytes4(1<<f.low - 1))
	}
	if f.high > 0 {
		r.highMask = r.mask(bytes4((1<<f.high - 1) << f.low))
	}
	if f.table != "" {
		numbers := make([]uint32, 4)
		for i, x := range bqTables[f.table] {
			numbers[i/4] |= uint32(byte(x)) << (i % 4 * 8)
		}
		m := words(f.table, numbers...)
		r.table = r.reg()
		if r.wide {
			VBROADCASTI32X4(m, r.table)
		} else {
			VBROADCASTI128(m, r.table)
		}
	}
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
	for _, h := range r.columns {
		if r.dh[h] == nil {
			r.dh[h], r.mh[h] = r.reg(), r.reg()
		}
		VCVTPH2PS(r.at(0, 2, h), r.dh[h])
		if r.f.headerBytes() == 64 {
			VCVTPH2PS(r.at(32, 2, h), r.mh[h])
			r.xor(r.mask(0x80000000), r.mh[h], r.mh[h])
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
	r.codesOf(h, 0, 8/r.f.low, emit)
}

// codesOf is codes for those that lie from place from up to place to in the bytes of
// the low plane: the first or second half of the places have those of a half of K.
func (r *bqReader) codesOf(h, from, to int, emit func(t int, a, b reg.VecVirtual)) {
	planes := r.f.scaleBytes()
	plane := func(v int) reg.VecVirtual {
		x := r.reg()
		r.load(Mem{Base: r.w, Disp: planes + 64*v + 32*h}, x)
		return x
	}
	var high [2]reg.VecVirtual
	for i := range r.f.high {
		if !r.thrifty {
			high[i] = plane(r.f.low + i)
		}
	}
	for v := 0; v < r.f.low; v += 2 {
		low := [2]reg.VecVirtual{plane(v), plane(v + 1)}
		for s := from; s < to; s++ {
			t := v + s*r.f.low
			var c [2]reg.VecVirtual
			for i := range c {
				p := i % max(1, r.f.high)
				if r.f.high > 0 && r.thrifty {
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
			if !r.thrifty {
				y = r.reg()
			}
			VPSLLW(Imm(uint64(s)), high, y)
		case s < 0:
			if !r.thrifty {
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
func (r *bqReader) units(units reg.GPVirtual, labels string, body func()) {
	Label("unit" + labels)
	if r.f.headerBytes() == 0 {
		body()
	} else {
		r.header()
		groups := GP64()
		MOVQ(U32(8), groups)
		Label("group" + labels)
		body()
		DECQ(groups)
		JNE(LabelRef("group" + labels))
	}
	DECQ(units)
	JNE(LabelRef("unit" + labels))
}

// next moves on to the next group.
func (r *bqReader) next() { ADDQ(U32(uint32(r.f.groupBytes())), r.w) }

// prefetch asks for what comes some KiB on.
func (r *bqReader) prefetch() {
	for at := 0; at < r.f.groupBytes(); at += 64 {
		PREFETCHT0(Mem{Base: r.w, Disp: at, Index: r.ahead, Scale: 1})
		if r.far != nil {
			PREFETCHT1(Mem{Base: r.w, Disp: at, Index: r.far, Scale: 1})
		}
	}
}
