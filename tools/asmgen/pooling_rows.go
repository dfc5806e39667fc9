package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pooledRow writes max and average pooling of a row of outputs in plain layout, whose
// windows are a stride of 1 or 2 apart: taps lie at offsets, in bytes, from the row's first
// window, and are taken in order. A sum is divided by its column's divisor.
type pooledRow struct {
	level
	average bool
	stride  int

	dst, src, offsets, taps, divisors reg.GPVirtual
}

func pooledRows() {
	for _, v := range rowLevels {
		for stride := 1; stride <= 2; stride++ {
			(&pooledRow{level: v, stride: stride}).write()
			(&pooledRow{level: v, stride: stride, average: true}).write()
			(&pooledPlanes{pooledRow: pooledRow{level: v, stride: stride}}).write()
			if !v.wide { // wide sums are slower: half of what they read crosses lines of the cache
				(&pooledPlanes{pooledRow: pooledRow{level: v, stride: stride, average: true}}).write()
			}
		}
	}
}

func (p *pooledRow) write() {
	name := "maxRow"
	if p.average {
		name = "averageRow"
	}
	TEXT(fmt.Sprintf("%s%sby%d", name, p.suffix(), p.stride), NOSPLIT, "func(dst, src *float32, start int, offsets *int, taps, n int, divisors *float32)")
	Pragma("noescape")
	p.dst, p.src, p.offsets, p.taps = arg("dst"), arg("src"), arg("offsets"), arg("taps")
	ADDQ(arg("start"), p.src)
	n, w := arg("n"), p.width()
	if p.average {
		p.divisors = arg("divisors")
	}
	many := 4 / p.stride
	for _, vectors := range []int{many, 1} {
		loop, end := fmt.Sprintf("by%d", vectors), fmt.Sprintf("no%d", vectors)
		Label(loop)
		CMPQ(n, step(vectors*w))
		JLE(LabelRef(end)) // the last of all are masked: an input beyond them may not exist
		p.block(fmt.Sprintf("taps%d", vectors), vectors, nil)
		ADDQ(step(4*vectors*w), p.dst)
		if p.average {
			ADDQ(step(4*vectors*w), p.divisors)
		}
		ADDQ(step(4*vectors*w*p.stride), p.src)
		SUBQ(step(vectors*w), n)
		JMP(LabelRef(loop))
		Label(end)
	}
	p.block("tapsrest", 1, n)
	end()
}

// block computes so many vectors of outputs, or the first of one.
func (p *pooledRow) block(label string, vectors int, first reg.GPVirtual) {
	var out tail
	var in []tail
	if first != nil {
		out, in = p.tail(first), p.inputs(first)
	}
	sums := p.begin(vectors)
	i, at := GP64(), GP64()
	XORQ(i, i)
	Label(label)
	MOVQ(Mem{Base: p.offsets, Index: i, Scale: 8}, at)
	for j := range sums {
		x := make([]reg.VecVirtual, p.stride)
		for k := range x {
			m := Mem{Base: p.src, Index: at, Scale: 1, Disp: (j*p.stride + k) * p.width() * 4}
			if first == nil {
				x[k] = p.load(m)
			} else {
				x[k] = p.loadTail(m, in[k])
			}
		}
		if p.stride == 2 {
			VSHUFPS(Imm(0x88), x[1], x[0], x[0]) // of each 128 bits; put in order in the end
		}
		if p.average {
			VADDPS(x[0], sums[j], sums[j])
		} else {
			VMAXPS(x[0], sums[j], sums[j])
		}
	}
	INCQ(i)
	CMPQ(i, p.taps)
	JLT(LabelRef(label))
	for j, sum := range sums {
		if p.stride == 2 {
			sum = p.inOrder(sum)
		}
		var t *tail
		if first != nil {
			t = &out
		}
		if p.average {
			sum = p.div(sum, p.get(p.divisors, 4*j*p.width(), t))
		}
		p.put(sum, p.dst, 4*j*p.width(), t)
	}
}

// begin gives sums, or maxima, of nothing.
func (p *pooledRow) begin(n int) []reg.VecVirtual {
	sums := make([]reg.VecVirtual, n)
	for i := range sums {
		if p.average {
			sums[i] = p.zero()
		} else {
			sums[i] = p.load(bitsConst(minusInf))
		}
	}
	return sums
}

// inputs are the masks of what n outputs read, a register's worth or less for each of the stride.
func (p *pooledRow) inputs(n reg.GPVirtual) []tail {
	in := make([]tail, p.stride)
	inputs := GP64()
	MOVQ(n, inputs)
	if p.stride == 2 {
		LEAQ(Mem{Base: n, Index: n, Scale: 1, Disp: -1}, inputs)
	}
	for i := range in {
		if i > 0 {
			SUBQ(step(p.width()), inputs)
			zero := GP64()
			XORQ(zero, zero)
			CMPQ(inputs, zero)
			CMOVQLT(zero, inputs)
		}
		most := GP64()
		MOVQ(step(p.width()), most)
		CMPQ(inputs, most)
		CMOVQLT(inputs, most)
		in[i] = p.tail(most)
	}
	return in
}

// inOrder puts pairs in the order in which they were before a shuffle of two registers
// took two of each's.
func (p *pooledRow) inOrder(x reg.VecVirtual) reg.VecVirtual {
	r := p.reg()
	if !p.wide {
		VPERMQ(Imm(0xd8), x, r)
		return r
	}
	VPERMQ(x, p.load(qwords("evenPairs", func(i int) uint64 { return uint64(i/4 + 2*(i%4)) })), r)
	return r
}
