package blockq

import "github.com/salver-ml/salver/internal/dtype/block"

// packKernels pack so many blocks of 16 rows, which lie stride bytes apart, as all of a panel
// that they are in.
type packKernels map[block.Format]func(dst, src *byte, stride, blocks int)

// maxPacked is how many bytes a call of a kernel takes at most, since it can't be
// interrupted.
const maxPacked = 256 << 10

// packWhole packs a whole panel by a kernel; false if there is none.
func (l *layout) packWhole(dst, rows []byte, rowBytes int) bool {
	kernel := packKernelsOf()[l.format]
	if kernel == nil {
		return false
	}
	size := l.format.Bytes()
	blocks := rowBytes / size
	_, _ = dst[:blocks*l.unitBytes()], rows[:cols*rowBytes]
	most := max(1, maxPacked/(cols*size))
	for from := 0; from < blocks; from += most {
		kernel(&dst[from*l.unitBytes()], &rows[from*size], rowBytes, min(most, blocks-from))
	}
	return true
}
