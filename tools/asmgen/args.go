package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// arg loads an argument, a pointer or an integer.
func arg(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

// base and length are where a slice is and how many elements it has.
func base(name string) reg.GPVirtual   { return Load(Param(name).Base(), GP64()).(reg.GPVirtual) }
func length(name string) reg.GPVirtual { return Load(Param(name).Len(), GP64()).(reg.GPVirtual) }

// memory is where a parameter is.
func memory(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// argStruct points to a Go struct, which kernels of many arguments take. They know the offsets
// of its fields; tests beside the struct check them.
type argStruct struct{ p reg.GPVirtual }

func (a argStruct) field(off int) Mem { return Mem{Base: a.p, Disp: off} }

// value loads a field of 64 bits.
func (a argStruct) value(off int) reg.GPVirtual {
	r := GP64()
	MOVQ(a.field(off), r)
	return r
}
