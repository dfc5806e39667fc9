package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func init() { families["blend"] = blend }

// blend writes the weighted sums of rows of internal/kernels/blend. Rows begin at offsets, in
// bytes; each product and each sum is rounded.
func blend() {
	for _, v := range rowLevels {
		TEXT("rows"+v.suffix(), NOSPLIT, "func(dst, src *float32, offsets *int, weights *float32, taps, n int)")
		Pragma("noescape")
		b := blended{level: v, dst: arg("dst"), src: arg("src"), offsets: arg("offsets"), weights: arg("weights"), taps: arg("taps")}
		n, w := arg("n"), v.width()
		for _, vectors := range []int{4, 1} {
			loop, end := fmt.Sprintf("by%d", vectors), fmt.Sprintf("no%d", vectors)
			Label(loop)
			CMPQ(n, step(vectors*w))
			JLT(LabelRef(end))
			b.block(fmt.Sprint(vectors), vectors, nil)
			ADDQ(step(4*vectors*w), b.dst)
			ADDQ(step(4*vectors*w), b.src)
			SUBQ(step(vectors*w), n)
			JMP(LabelRef(loop))
			Label(end)
		}
		TESTQ(n, n)
		JEQ(LabelRef("done"))
		rest := v.tail(n)
		b.block("rest", 1, &rest)
		Label("done")
		end()
	}
}

type blended struct {
	level
	dst, src, offsets, weights, taps reg.GPVirtual
}

// block computes so many vectors, or a part of one.
func (b *blended) block(label string, vectors int, t *tail) {
	i, at := GP64(), GP64()
	sums := make([]reg.VecVirtual, vectors)
	product := func(j int) reg.VecVirtual {
		m := Mem{Base: b.src, Index: at, Scale: 1, Disp: 4 * j * b.width()}
		weight := b.broadcast(Mem{Base: b.weights, Index: i, Scale: 4})
		if t != nil {
			return b.mul(b.loadTail(m, *t), weight)
		}
		return b.mul(weight, m)
	}
	XORQ(i, i)
	MOVQ(Mem{Base: b.offsets, Index: i, Scale: 8}, at)
	for j := range sums {
		sums[j] = product(j)
	}
	INCQ(i)
	CMPQ(i, b.taps)
	JGE(LabelRef("sum" + label))
	Label("taps" + label)
	MOVQ(Mem{Base: b.offsets, Index: i, Scale: 8}, at)
	for j := range sums {
		VADDPS(product(j), sums[j], sums[j])
	}
	INCQ(i)
	CMPQ(i, b.taps)
	JLT(LabelRef("taps" + label))
	Label("sum" + label)
	for j, sum := range sums {
		b.put(sum, b.dst, 4*j*b.width(), t)
	}
}
