package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

var written = map[string]Mem{}

// data is what write has put into the data section under a name, the first time that it is asked for.
func data(name string, write func()) Mem {
	m, ok := written[name]
	if !ok {
		m = GLOBL(name, attr.RODATA|attr.NOPTR)
		write()
		written[name] = m
	}
	return m
}

// words is a table of numbers of 32 bits.
func words(name string, values ...uint32) Mem {
	return data(name, func() {
		for i, v := range values {
			DATA(4*i, U32(v))
		}
	})
}

// dwords is a table of 16 numbers of 32 bits.
func dwords(name string, f func(i int) int) Mem {
	return data(name, func() {
		for i := range 16 {
			DATA(4*i, U32(uint32(f(i))))
		}
	})
}

// qwords is a table of 8 numbers of 64 bits.
func qwords(name string, f func(i int) uint64) Mem {
	return data(name, func() {
		for i := range 8 {
			DATA(8*i, U64(f(i)))
		}
	})
}

// bitsConst and fconst are a number in all lanes of an operand of level's methods: eight copies, for AVX2.
// AVX-512 broadcasts one as it reads it.
func bitsConst(b uint32) Mem {
	return words(fmt.Sprintf("word%08x", b), slices.Repeat([]uint32{b}, 8)...)
}

func fconst(f float64) Mem { return bitsConst(math.Float32bits(float32(f))) }

// repeats reports whether b is to be read with a broadcast.
func (v level) repeats(b Op) bool {
	m, ok := b.(Mem)
	return ok && v.wide && strings.HasPrefix(m.Symbol.Name, "word")
}

// integer and constant are a number in all lanes of an operand of any instruction: 16 copies.
func integer(v uint32) Mem {
	return words(fmt.Sprintf("vector_%08x", v), slices.Repeat([]uint32{v}, 16)...)
}

func constant(v float32) Mem { return integer(math.Float32bits(v)) }

// doubleConst is the same of float64.
func doubleConst(f float64) Mem {
	b := math.Float64bits(f)
	return qwords(fmt.Sprintf("double%016x", b), func(int) uint64 { return b })
}
