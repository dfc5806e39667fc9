package conv

import (
	"testing"
	"unsafe"
)

// The generated assembly reads a tile at these offsets (tools/asmgen/conv.go).
func TestTileOffsets(t *testing.T) {
	var x tile
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.in), 0}, {unsafe.Offsetof(x.weights), 8}, {unsafe.Offsetof(x.out), 16},
		{unsafe.Offsetof(x.residual), 24}, {unsafe.Offsetof(x.bias), 32}, {unsafe.Offsetof(x.blocks), 40},
		{unsafe.Offsetof(x.kh), 48}, {unsafe.Offsetof(x.kw), 56}, {unsafe.Offsetof(x.ci), 64},
		{unsafe.Offsetof(x.inBlock), 72}, {unsafe.Offsetof(x.inKH), 80}, {unsafe.Offsetof(x.inKW), 88},
		{unsafe.Offsetof(x.inPx), 96}, {unsafe.Offsetof(x.skipKH), 104}, {unsafe.Offsetof(x.skipIC), 112},
		{unsafe.Offsetof(x.weightsOut), 120}, {unsafe.Offsetof(x.outPx), 128}, {unsafe.Offsetof(x.outBlk), 136},
		{unsafe.Offsetof(x.lo), 144}, {unsafe.Offsetof(x.hi), 148}, {unsafe.Offsetof(x.clamp), 152},
		{unsafe.Offsetof(x.lines), 160}, {unsafe.Offsetof(x.pixels), 168},
		{unsafe.Offsetof(x.inLine), 176}, {unsafe.Offsetof(x.outLine), 184},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && c.got != c.want {
			t.Errorf("field %d is at %d, the assembly expects %d", i, c.got, c.want)
		}
	}
}
