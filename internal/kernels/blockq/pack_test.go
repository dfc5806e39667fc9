package blockq

import (
	"bytes"
	"testing"

	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

// Whole panels, which some formats pack by vectors or by pairs of columns, lie as column
// by column.
func TestPackPanels(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		packPanels(t, 3*superSize)
		packPanels(t, maxPacked/cols+3*superSize) // more than a call of a kernel takes
	})
}

func packPanels(t *testing.T, k int) {
	for _, f := range formats() {
		l := layouts[f]
		row, err := f.RowBytes(k)
		if err != nil {
			t.Fatal(err)
		}
		rows := kerneltest.Guarded(t, 2*cols*row)
		copy(rows, randomRows(f, 2*cols, k, 7))
		got, want := kerneltest.Guarded(t, 2*l.panelBytes(k)), make([]byte, 2*l.panelBytes(k))
		if _, err := Pack(got, f, 2*cols, k, rows); err != nil {
			t.Fatal(err)
		}
		for i := range 2 * cols {
			dst := want[i/cols*l.panelBytes(k):]
			for b := 0; b < row; b += f.Bytes() {
				l.pack(dst, i%cols, rows[i*row+b:][:f.Bytes()])
				dst = dst[l.unitBytes():]
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%v, %d elements: panels differ from their columns", f, k)
		}
	}
}
