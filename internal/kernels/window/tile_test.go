package window

import (
	"testing"
	"unsafe"
)

// The generated assembly reads a tile at these offsets (tools/asmgen/window.go).
func TestTileOffsets(t *testing.T) {
	var x Tile
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.In), 0}, {unsafe.Offsetof(x.Weights), 8}, {unsafe.Offsetof(x.Out), 16},
		{unsafe.Offsetof(x.Residual), 24}, {unsafe.Offsetof(x.Bias), 32}, {unsafe.Offsetof(x.Blocks), 40},
		{unsafe.Offsetof(x.KH), 48}, {unsafe.Offsetof(x.KW), 56}, {unsafe.Offsetof(x.CI), 64},
		{unsafe.Offsetof(x.InBlock), 72}, {unsafe.Offsetof(x.InKH), 80}, {unsafe.Offsetof(x.InKW), 88},
		{unsafe.Offsetof(x.InPx), 96}, {unsafe.Offsetof(x.SkipKH), 104}, {unsafe.Offsetof(x.SkipIC), 112},
		{unsafe.Offsetof(x.WeightsOut), 120}, {unsafe.Offsetof(x.OutPx), 128}, {unsafe.Offsetof(x.OutBlock), 136},
		{unsafe.Offsetof(x.Lo), 144}, {unsafe.Offsetof(x.Hi), 148}, {unsafe.Offsetof(x.Clamp), 152},
		{unsafe.Offsetof(x.Lines), 160}, {unsafe.Offsetof(x.Channels), 168},
		{unsafe.Offsetof(x.InLine), 176}, {unsafe.Offsetof(x.OutLine), 184}, {unsafe.Offsetof(x.Divisor), 192}, {unsafe.Offsetof(x.Partial), 200},
		{unsafe.Offsetof(x.LastCI), 208}, {unsafe.Offsetof(x.LastSkip), 216},
		{unsafe.Offsetof(x.Next), 224}, {unsafe.Offsetof(x.NextEnd), 232},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && c.got != c.want {
			t.Errorf("field %d is at %d, the assembly expects %d", i, c.got, c.want)
		}
	}
}
