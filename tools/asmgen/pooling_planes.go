package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pooledPlanes writes max and average pooling of the same rows of four planes in plain
// layout, beside each other: a sum of one would wait for each addition. Taps are in
// order; each has its offset, in bytes, and for each column a word that is 0 where it lies
// beside the input. What is read there is left out.
type pooledPlanes struct {
	pooledRow
	args, column, plane, plane3 reg.GPVirtual
	lowest                      reg.VecVirtual // what a maximum begins with
}

// The offsets of a planeRows.
const (
	planesDst = 8 * iota
	planesSrc
	planesTo
	planesStart
	planesTaps
	planesCount
	planesFirst
	planesColumns
	planesRows
	planesDstPlane
	planesSrcPlane
	planesDstRow
	planesSrcRow
	planesDivisors
)

func (p *pooledPlanes) arg(offset int) Mem { return Mem{Base: p.args, Disp: offset} }

func (p *pooledPlanes) write() {
	name := "maxPlanes"
	if p.average {
		name = "averagePlanes"
	}
	TEXT(fmt.Sprintf("%s%sby%d", name, p.suffix(), p.stride), NOSPLIT, "func(p *byte)")
	Doc("pools rows of four planes; p is a *planeRows.")
	Pragma("noescape")
	p.args = arg("p")
	n, w := GP64(), p.width()
	p.dst, p.src, p.column, p.plane, p.plane3 = GP64(), GP64(), GP64(), GP64(), GP64()
	MOVQ(p.arg(planesSrcPlane), p.plane)
	LEAQ(Mem{Base: p.plane, Index: p.plane, Scale: 2}, p.plane3)
	Label("row")
	MOVQ(p.arg(planesDst), p.dst)
	ADDQ(p.arg(planesTo), p.dst)
	MOVQ(p.arg(planesSrc), p.src)
	ADDQ(p.arg(planesStart), p.src)
	MOVQ(p.arg(planesFirst), p.column)
	MOVQ(p.arg(planesColumns), n)
	Label("columns")
	CMPQ(n, step(w))
	JLE(LabelRef("last")) // masked: an input beyond them may not exist
	p.four("taps", nil)
	ADDQ(step(4*w), p.dst)
	ADDQ(step(4*w), p.column)
	ADDQ(step(4*w*p.stride), p.src)
	SUBQ(step(w), n)
	JMP(LabelRef("columns"))
	Label("last")
	p.four("tapslast", n)
	d := GP64()
	MOVQ(p.arg(planesDstRow), d)
	ADDQ(d, p.arg(planesTo))
	MOVQ(p.arg(planesSrcRow), d)
	ADDQ(d, p.arg(planesStart))
	DECQ(p.arg(planesRows))
	JNE(LabelRef("row"))
	end()
}

// four computes a register of outputs of each plane, or the first of one.
func (p *pooledPlanes) four(label string, first reg.GPVirtual) {
	var t *tail
	var in []tail
	if first != nil {
		out := p.tail(first)
		t, in = &out, p.inputs(first)
	}
	sums := p.begin(4)
	if p.wide && !p.average {
		p.lowest = p.load(bitsConst(minusInf))
	}
	tap, count, at, limits := GP64(), GP64(), GP64(), GP64()
	MOVQ(p.arg(planesTaps), tap)
	MOVQ(p.arg(planesCount), count)
	Label(label)
	MOVQ(Mem{Base: tap}, at)
	ADDQ(p.src, at)
	MOVQ(Mem{Base: tap, Disp: 8}, limits)
	inside := p.insideOf(Mem{Base: limits, Index: p.column, Scale: 1})
	planes := rowsByFour{[]reg.GPVirtual{at}, p.plane, p.plane3}
	for j, sum := range sums {
		x := make([]reg.VecVirtual, p.stride)
		for k := range x {
			m := planes.row(j, k*p.width()*4)
			if t == nil {
				x[k] = p.load(m)
			} else {
				x[k] = p.loadTail(m, in[k])
			}
		}
		if p.stride == 2 {
			VSHUFPS(Imm(0x88), x[1], x[0], x[0]) // of each 128 bits; put in order in the end
		}
		inside.take(x[0], sum)
	}
	ADDQ(Imm(16), tap)
	DECQ(count)
	JNE(LabelRef(label))
	var divisors reg.VecVirtual
	if p.average {
		d := GP64()
		MOVQ(p.arg(planesDivisors), d)
		ADDQ(p.column, d)
		divisors = p.get(d, 0, t)
	}
	to := GP64()
	MOVQ(p.dst, to)
	for _, sum := range sums {
		if p.stride == 2 {
			sum = p.inOrder(sum)
		}
		if p.average {
			sum = p.div(sum, divisors)
		}
		p.put(sum, to, 0, t)
		ADDQ(p.arg(planesDstPlane), to)
	}
}

// insideTaps are the elements of a register whose taps lie in the input.
type insideTaps struct {
	p          *pooledPlanes
	k          reg.OpmaskVirtual
	mask, fill reg.VecVirtual
}

func (p *pooledPlanes) insideOf(limits Mem) insideTaps {
	i := insideTaps{p: p, mask: p.load(limits)}
	if p.stride == 2 {
		i.mask = p.asShuffled(i.mask)
	}
	switch {
	case p.wide:
		i.k = K()
		VPMOVD2M(i.mask, i.k)
		i.fill = p.lowest
	case !p.average:
		i.fill = p.reg()
		VANDNPS(bitsConst(minusInf), i.mask, i.fill)
	}
	return i
}

// take takes the inputs x into a sum or maximum.
func (i insideTaps) take(x, sum reg.VecVirtual) {
	switch {
	case i.p.wide: // a tap beside the input counts, as it does after a NaN
		VBLENDMPS(x, i.fill, i.k, x)
		VMAXPS(x, sum, sum)
	case i.p.average:
		VANDPS(i.mask, x, x)
		VADDPS(x, sum, sum)
	default:
		VANDPS(i.mask, x, x)
		VORPS(i.fill, x, x)
		VMAXPS(x, sum, sum)
	}
}

// asShuffled puts words in the order that a shuffle of two registers leaves.
func (p *pooledPlanes) asShuffled(x reg.VecVirtual) reg.VecVirtual {
	r := p.reg()
	if !p.wide {
		VPERMQ(Imm(0xd8), x, r)
		return r
	}
	VPERMQ(x, p.load(qwords("splitPairs", func(i int) uint64 { return uint64(i/2 + i%2*4) })), r)
	return r
}
