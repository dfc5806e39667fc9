package qgemm

import (
	"encoding/binary"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Spills are what the columns of a matrix of other kernels for pairs were clipped by.
type Spills struct {
	starts []uint32 // of each column's, and the last one's end
	list   []spill
}

// SpillsSize is the bytes of up to so many spills of n columns.
func SpillsSize(n, most int) int {
	return tiling.Align(spillsAt(n)+spillBytes*most, lineBytes)
}

// SpillsIn views memory of SpillsSize.
func SpillsIn(b []byte, n, most int) Spills {
	return Spills{view[uint32](at(b, 0), n+1), view[spill](at(b, spillsAt(n)), most)}
}

// CountSpills is how many spills a panel of groups of four numbers of some columns gives.
func CountSpills(panel []byte, columns int) (n int) {
	for c := range columns {
		pairs := 0
		for at := 4 * c; at < len(panel); at += 4 * columns {
			for _, pair := range [2][]byte{panel[at:][:2], panel[at+2:][:2]} {
				if sum := int(int8(pair[0])) + int(int8(pair[1])); sum > clipLimit || sum < -clipLimit {
					pairs++
				}
			}
		}
		n += tiling.Ceil(pairs, 2)
	}
	return n
}

// Clip clips a panel of groups of four numbers of some columns, n of which exist, the first of
// them column first. Panels come in order, and there is room for their spills.
func (s Spills) Clip(panel []byte, columns, first, n int) {
	c := &clipper{}
	for at := 0; at < len(panel); at += 4 * columns {
		for j := range n {
			group := panel[at+4*j:]
			binary.LittleEndian.PutUint32(group, c.clip(j, binary.LittleEndian.Uint32(group)))
		}
		c.k += 4
	}
	c.flush(s.list, s.starts[first+1:][:n], int(s.starts[first]))
}

// SpillRows is the most rows of a SpillBlock, and SpillColumns the columns of its sums.
const (
	SpillRows    = spillRows
	SpillColumns = clipCols
)

// A SpillBlock adds up what spills give for some rows of unsigned bytes.
type SpillBlock struct {
	kern          *kernels
	words         []uint16
	columns, sums []float32
	rows          [evenRows]*byte
	n             int
}

// SpillScratch is the bytes that a SpillBlock needs for rows of k numbers.
func SpillScratch(k int) int {
	return tiling.Align(spillWords*tiling.Ceil(k, 2), lineBytes) + 2*4*clipCols*spillRows
}

// Set takes n rows of k numbers, so many bytes apart. The block keeps scratch, of SpillScratch.
func (b *SpillBlock) Set(scratch, a []byte, n, k, stride int) {
	const square = clipCols * spillRows
	sums := len(scratch) - 2*4*square
	b.kern, b.n = forLevel(cpu.AVX2).pairs, n
	b.words = view[uint16](at(scratch, 0), spillRows*tiling.Ceil(k, 2))
	b.sums, b.columns = view[float32](at(scratch, sums), square), view[float32](at(scratch, sums+4*square), square)
	for i := 0; i < n; i += evenRows {
		for r := range b.rows {
			b.rows[r] = &a[min(i+r, n-1)*stride:][:k][0]
		}
		b.kern.evenColumns(b.words[i:], &b.rows, k, 0)
	}
	clear(b.rows[:])
}

// Sums gives for each row what SpillColumns columns add, of which n exist.
func (b *SpillBlock) Sums(s Spills, first, n int) []int32 {
	b.kern.spill[bit(b.n > spillRows/2)](&b.columns[0], &b.words[0], (*byte)(unsafe.Pointer(&s.list[0])), &s.starts[first], n)
	for j := 0; j < clipCols; j += 8 {
		b.kern.transpose(&b.sums[j], &b.columns[j*spillRows], clipCols, spillRows, tiling.Ceil(b.n, 8))
	}
	return view[int32](unsafe.Pointer(&b.sums[0]), len(b.sums))
}
