package gemm

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Packed is a constant B in the order that the kernels of one level read it:
// panels of nr columns, the last filled up with zeros; a single column as it is.
type Packed struct {
	kern        *kernels
	k, n, items int
	data        []float32
}

// PackedSize is the number of elements that PackB needs for items matrices of
// K×N at the current level.
func PackedSize(k, n, items int) int { return items * packedItem(current(), k, n) }

func packedItem(kern *kernels, k, n int) int {
	if n == 1 {
		return align(k)
	}
	return k * tiling.Align(n, kern.nr)
}

// PackB packs K×N matrices into dst, which is retained, and has PackedSize
// elements; aligned to a cache line and in huge pages is best. Item i of items
// is step·i elements into b.
func PackB(dst []float32, b Matrix, k, n, items, step int) (*Packed, error) {
	p := &Packed{kern: current(), k: k, n: n, items: items}
	if k < 0 || n < 0 || items < 0 || step < 0 {
		return nil, fmt.Errorf("gemm: packing %d items of %d×%d, step %d: none may be negative", items, k, n, step)
	}
	b.Steps = []int{step}
	check := Product{N: n, K: k, Batch: []int{items}}
	if err := check.checkMatrix("B", &b, k, n); err != nil {
		return nil, err
	}
	need := items * p.itemSize()
	if len(dst) < need {
		return nil, fmt.Errorf("gemm: packing %d items of %d×%d needs %d elements, got %d", items, k, n, need, len(dst))
	}
	p.data = dst[:need:need]
	for i := range items {
		p.packItem(i, &b, i*step)
	}
	return p, nil
}

func (p *Packed) packItem(i int, b *Matrix, off int) {
	dst := p.data[i*p.itemSize():][:p.itemSize()]
	if p.n == 1 {
		for k := range p.k {
			if b.Trans {
				dst[k] = b.Data[off+k]
			} else {
				dst[k] = b.Data[off+k*b.Stride]
			}
		}
		return
	}
	nr := p.kern.nr
	if !b.Trans {
		p.packRows(dst, b, off)
		return
	}
	for j := 0; j < p.n; j += nr {
		packPanel(p.kern, dst[j*p.k:][:nr*p.k], b, off, 0, p.k, j, min(nr, p.n-j))
	}
}

// rowPanels is the number of panels that packRows fills at once: rows are then
// read in runs of a kilobyte, about twice as fast as panel by panel.
const rowPanels = 8

// packRows copies the rows of a matrix to all panels.
func (p *Packed) packRows(dst []float32, b *Matrix, off int) {
	nr := p.kern.nr
	for first := 0; first < p.n; first += rowPanels * nr {
		n := min(rowPanels*nr, p.n-first)
		for i := range p.k {
			row := floats(at(b.Data, off+i*b.Stride+first), n)
			for j := 0; j < n; j += nr {
				d := dst[(first+j)*p.k+i*nr:][:nr]
				clear(d[copy(d, row[j:]):])
			}
		}
	}
}

func (p *Packed) itemSize() int { return packedItem(p.kern, p.k, p.n) }

// Bytes is the memory that the packed matrices take.
func (p *Packed) Bytes() int { return 4 * len(p.data) }

// Level is the instruction-set level that the matrices were packed for. Tasks
// that use them run at it.
func (p *Packed) Level() cpu.Target { return p.kern.level }

// packPanel copies rows k0 to k0+k of n columns from j to dst, nr to a row.
func packPanel(kern *kernels, dst []float32, b *Matrix, off, k0, k, j, n int) {
	nr := kern.nr
	if b.Trans {
		transpose(kern, dst, nr, at(b.Data, off+j*b.Stride+k0), b.Stride, n, k)
		if n < nr {
			for i := range k {
				clear(dst[i*nr+n : (i+1)*nr])
			}
		}
		return
	}
	for i := range k {
		d := dst[i*nr : (i+1)*nr]
		copy(d, floats(at(b.Data, off+(k0+i)*b.Stride+j), n))
		clear(d[n:])
	}
}

// transposeBlock is the rows and columns that transpose8 has at once. Rows of a tile of a
// transposed A are copied in whole blocks of them, of the next tile's if need be.
const transposeBlock = 8

// transposeCols is the columns for which all rows are transposed before the next: their
// lines of dst stay in the first cache until they are full.
const transposeCols = 64

// transpose writes column i of src, rows×cols, to row i of dst.
func transpose(kern *kernels, dst []float32, dstStride int, src unsafe.Pointer, srcStride, rows, cols int) {
	blockRows, blockCols := 0, 0
	if kern.transpose8 != nil {
		blockRows, blockCols = rows&^(transposeBlock-1), cols&^(transposeBlock-1)
	}
	for c := 0; c < blockCols; c += transposeCols {
		for r := 0; r < blockRows; r += transposeBlock {
			kern.transpose8((*float32)(at(dst, c*dstStride+r)), (*float32)(unsafe.Add(src, 4*(r*srcStride+c))), dstStride, srcStride,
				min(transposeCols, blockCols-c)/transposeBlock)
		}
	}
	for r := range rows {
		from := blockCols
		if r >= blockRows {
			from = 0
		}
		row := floats(unsafe.Add(src, 4*r*srcStride), cols)
		for c := from; c < cols; c++ {
			dst[c*dstStride+r] = row[c]
		}
	}
}
