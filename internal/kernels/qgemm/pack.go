package qgemm

import (
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Packed is B in the order that the kernels of one level read it: panels of nr
// columns, in which group numbers of k of a column are adjacent; signed, and
// filled up with zeros.
type Packed struct {
	kern        *kernels
	k, n, items int
	data        []byte
	colSum      []int32 // K·zero - Σb', per column of each item
	colZero     []int32 // -zero
	colInner    []int32 // minus the products of its numbers by each other, where kernels.innerSum
	shifted     bool    // some of colZero are not 0
	spilled     bool    // there are spills

	batch tiling.Batch // of the check of B; kept, so that Repack allocates nothing
	steps []int
}

// PackedSize is the number of bytes that PackB needs for items matrices of K×N
// at the current level.
func PackedSize(k, n, items int) int { return items * packedItem(current(), k, n) }

func packedItem(kern *kernels, k, n int) int {
	size := kern.depth(k) * tiling.Align(n, kern.nr)
	if kern.clips {
		size += spillsSize(k, n)
	}
	return size
}

// PackB packs K×N matrices into dst, which is retained, and has PackedSize
// bytes. Item i of items is step·i elements into b. There is one zero point, one
// per column, or one per column of each item; nil stands for 0.
func PackB(dst []byte, b Matrix, zero []int32, k, n, items, step int) (*Packed, error) {
	p := &Packed{}
	if err := p.pack(dst, b, zero, k, n, items, step, current().pairs); err != nil {
		return nil, err
	}
	return p, nil
}

// Repack is PackB into an existing Packed, for a B that changes from run to run.
// It allocates only when the number of columns grows, and does not clip, which takes time.
func (p *Packed) Repack(dst []byte, b Matrix, zero []int32, k, n, items, step int) error {
	return p.pack(dst, b, zero, k, n, items, step, nil)
}

// pack packs for kernels for pairs, if there are some, and B has few enough spills.
func (p *Packed) pack(dst []byte, b Matrix, zero []int32, k, n, items, step int, pairs *kernels) error {
	if k < 0 || n < 0 || items < 0 || step < 0 {
		return fmt.Errorf("qgemm: packing %d items of %d×%d, step %d: none may be negative", items, k, n, step)
	}
	rows, cols := k, n
	if b.Trans {
		rows, cols = n, k
	}
	p.batch, p.steps = append(p.batch[:0], items), append(p.steps[:0], step)
	if err := p.batch.CheckMatrix(len(b.Data), rows, cols, b.Stride, p.steps); err != nil {
		return fmt.Errorf("qgemm: B: %w", err)
	}
	if err := checkZero(zero, n, items); err != nil {
		return err
	}
	kern := current()
	need := items * packedItem(kern, k, n)
	if len(dst) < need {
		return fmt.Errorf("qgemm: packing %d items of %d×%d needs %d bytes, got %d", items, k, n, need, len(dst))
	}
	p.kern, p.k, p.n, p.items, p.data = kern, k, n, items, dst[:need:need]
	if pairs != nil && k <= MostClipK && p.packItems(pairs, &b, zero, step) {
		return nil
	}
	p.packItems(kern, &b, zero, step)
	for i := range items {
		if kern.clips {
			p.starts(i)[0] = notClipped
		}
	}
	return nil
}

// packItems packs for some kernels. It gives false where these are for pairs and there is not
// room for the spills.
func (p *Packed) packItems(kern *kernels, b *Matrix, zero []int32, step int) bool {
	p.kern, p.spilled = kern, false
	p.sums(b.Signed, zero)
	for i := range p.items {
		if !p.packItem(i, b, i*step) {
			return false
		}
	}
	p.finishSums()
	return true
}

func checkZero(zero []int32, n, items int) error {
	if z := len(zero); z != 0 && z != 1 && z != n && z != n*items {
		return fmt.Errorf("qgemm: %d zero points for %d matrices of %d columns", z, items, n)
	}
	return nil
}

// sums sets colZero, and clears colSum for packItem to add to.
func (p *Packed) sums(signed bool, zero []int32) {
	total := p.n * p.items
	p.colSum = resize(p.colSum, total)
	if p.kern.innerSum != nil {
		p.colInner = resize(p.colInner, total)
	}
	shift := int32(0)
	if !signed {
		shift = 128
	}
	p.colZero = resize(p.colZero, total)
	p.shifted = false
	for i := range p.colZero {
		z := int32(0)
		switch len(zero) {
		case 0:
		case 1:
			z = zero[0]
		default:
			z = zero[i%len(zero)]
		}
		p.colZero[i] = shift - z
		p.shifted = p.shifted || z != shift
	}
}

func resize(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// finishSums turns Σb' into K·zero - Σb'.
func (p *Packed) finishSums() {
	for i, s := range p.colSum {
		p.colSum[i] = -s - int32(p.k)*p.colZero[i]
	}
}

func (p *Packed) packItem(i int, b *Matrix, off int) bool {
	var c *clipper
	spills := 0
	if p.kern.evens != nil {
		c = &clipper{}
		clear(p.starts(i))
	}
	if p.k == 0 {
		return true
	}
	size := packedItem(p.kern, p.k, p.n)
	dst := p.data[i*size:][:size]
	nr := p.kern.nr
	panel := p.kern.depth(p.k) * nr
	for j := 0; j < p.n; j += nr {
		w := panelPacker{
			dst: dst[j/nr*panel:][:panel], sums: p.colSum[i*p.n+j:][:min(nr, p.n-j)],
			nr: nr, group: p.kern.group, k: p.k, clipper: c,
		}
		if p.kern.innerSum != nil {
			w.inner = p.colInner[i*p.n+j:][:min(nr, p.n-j)]
		}
		if !b.Signed {
			w.flip = 0x80
		}
		if b.Trans {
			w.columns(b.Data[off+j*b.Stride:], b.Stride)
		} else {
			w.rows(b.Data[off+j:], b.Stride)
		}
		if c != nil {
			var fits bool
			if spills, fits = c.flush(p.spills(i), p.starts(i)[j+1:][:len(w.sums)], spills); !fits {
				return false
			}
		}
	}
	p.spilled = p.spilled || spills > 0
	return true
}

// Bytes is the memory that the packed matrices and their sums take.
func (p *Packed) Bytes() int { return len(p.data) + 4*(len(p.colSum)+len(p.colZero)+len(p.colInner)) }

// Level is the instruction-set level that the matrices were packed for. Tasks
// that use them run at it.
func (p *Packed) Level() cpu.Target { return p.kern.level }
