package nbits

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/pool"
)

// A Product is Y = X·Wᵀ + Bias.
type Product struct {
	M       int
	X       []float32
	StrideX int // elements from row to row
	Packed  *Packed
	Y       []float32
	StrideY int
	Bias    []float32 // an element of each column, or nil
}

// A Task is a product that is prepared once and run often. Its fields may be changed
// between runs. A Task is used by one goroutine at a time.
type Task struct {
	Product

	// Scratch is at least ScratchSize bytes that nothing else uses during Run. With too
	// little, Run allocates.
	Scratch []byte

	grid   tiling.Grid
	micro  gemm.Micro
	slots  tiling.Slots
	spaces []workspace
	work   []byte // of all slots
}

// A workspace is what a chunk needs. It is not on the stack since kernels are called
// through variables, which makes arguments escape.
type workspace struct {
	args  args
	micro gemm.Micro
	strip gemm.Strip
	_     [128]byte // no false sharing with the next
}

const (
	fewPasses = 3       // over codes, for so few rows that they are multiplied as codes are read
	manyRows  = 128     // that are multiplied by weights that have been widened
	depth     = 768     // elements of K that are widened at once
	callDepth = 1 << 14 // elements of K of a call, which can't be interrupted
	chunkWork = 1 << 20 // multiply-adds for which a chunk of its own pays

	// rowGap is how many elements lie between copied rows. As they lie in X, at a distance of
	// a power of two, those of a tile would have their places in the same sets of the caches.
	rowGap = 16
)

// few reports whether rows are multiplied as codes are read, which four or one at a time are.
func (t *Task) few() bool { return t.M/4+t.M%4 <= fewPasses }

// perSlot is the bytes of working memory of a chunk.
func (t *Task) perSlot() int {
	if t.few() {
		return 4 * vector // sums of four rows
	}
	return t.floatsAt() + min(t.M, manyRows)*t.copyStride()*4
}

// floatsAt is where the widened weights in it end.
func (t *Task) floatsAt() int { return min(depth, t.Packed.k) * vector }

func (t *Task) copyStride() int { return min(depth, t.Packed.k) + rowGap }

// plan cuts the product for so many threads, and gives how many chunks run at once.
func (t *Task) plan(threads int) (slots int) {
	t.micro.Use()
	s := tiling.Shape{Items: 1, M: t.M, N: t.Packed.n, K: t.Packed.k, MR: t.micro.Rows(), NR: panelCols, ChunkWork: chunkWork}
	if t.M <= manyRows {
		s.Along = tiling.ByColumns // codes are read once
	}
	t.grid = tiling.Split(s, threads)
	return min(threads, t.grid.Chunks(), tiling.MaxSlots)
}

const alignment = 64

// ScratchSize is how many bytes of Scratch a Run on so many threads uses.
func (t *Task) ScratchSize(threads int) int {
	if t.M == 0 {
		return 0
	}
	return t.plan(threads)*t.perSlot() + alignment
}

// Run computes Y on the pool's threads. An error means that sizes, strides and slices don't
// fit together, and that nothing was computed.
func (t *Task) Run(p *pool.Pool) error {
	if err := t.Check(); err != nil || t.M == 0 {
		return err
	}
	slots := t.plan(p.Threads())
	t.slots.Reset(slots)
	if len(t.spaces) < slots {
		t.spaces = make([]workspace, slots)
	}
	t.work = t.Scratch
	if need := slots*t.perSlot() + alignment; len(t.work) < need {
		t.work = make([]byte, need)
	}
	t.work = t.work[-uintptr(unsafe.Pointer(&t.work[0]))%alignment:]
	p.Run(t.grid.Chunks(), (*chunkTask)(t))
	t.work = nil
	return nil
}

// Check reports what doesn't fit together.
func (t *Product) Check() error {
	p := t.Packed
	if p == nil {
		return fmt.Errorf("nbits: W is not packed")
	}
	if t.M < 0 || t.Bias != nil && len(t.Bias) != p.n {
		return fmt.Errorf("nbits: %d rows with a bias of %d elements, expected N = %d of these", t.M, len(t.Bias), p.n)
	}
	one := tiling.Batch(nil)
	if err := one.CheckMatrix(len(t.X), t.M, p.k, t.StrideX, nil); err != nil {
		return fmt.Errorf("nbits: X: %w", err)
	}
	if err := one.CheckMatrix(len(t.Y), t.M, p.n, t.StrideY, nil); err != nil {
		return fmt.Errorf("nbits: Y: %w", err)
	}
	return nil
}

// chunkTask is a Task as the pool sees it.
type chunkTask Task

// Do computes chunk number i.
func (c *chunkTask) Do(i int) {
	t := (*Task)(c)
	slot := t.slots.Take()
	w, work := &t.spaces[slot], view[float32](unsafe.Pointer(&t.work[slot*t.perSlot()]), t.perSlot()/4)
	part := t.grid.Part(i)
	if t.few() {
		t.byCodes(w, work, &part)
	} else {
		t.byFloats(w, work, &part)
	}
	// Pointers to memory that may be unmapped must not stay where the collector looks.
	w.args, w.strip = args{}, gemm.Strip{}
	t.slots.Give(slot)
}

// byCodes multiplies all rows, four or one at a time, by the codes of some panels.
func (t *Task) byCodes(w *workspace, sums []float32, part *tiling.Part) {
	kern, f := current(), t.Packed.format.index()
	for j := part.Panel; j < part.PanelEnd; j++ {
		for i := 0; i < t.M; {
			rows, cols, kernel := 1, panelCols, kern.row[f]
			if i+4 <= t.M {
				rows, cols, kernel = 4, kern.fourCols, kern.four[f]
			}
			clear(sums)
			for k := 0; k < t.Packed.k; k += callDepth {
				w.args = args{x: unsafe.Pointer(&t.X[i*t.StrideX+k]), ldx: 4 * t.StrideX, groups: min(callDepth, t.Packed.k-k) / groupSize}
				for c := 0; c < panelCols; c += cols {
					w.args.w, w.args.out = t.weights(j, k, c), unsafe.Pointer(&sums[c])
					kernel(w.args.arg())
				}
			}
			for r := range rows {
				t.store(i+r, j, sums[r*panelCols:])
			}
			i += rows
		}
	}
}

// weights points at the group of element k of a panel's column.
func (t *Task) weights(panel, k, column int) unsafe.Pointer {
	return unsafe.Pointer(&t.Packed.panel(panel)[k/groupSize*t.Packed.format.groupBytes()+4*column])
}

// store writes a panel's sums of a row, and their biases.
func (t *Task) store(row, panel int, sums []float32) {
	at := panel * panelCols
	y := t.Y[row*t.StrideY+at:][:min(panelCols, t.Packed.n-at)]
	copy(y, sums)
	if t.Bias != nil {
		addTo(y, t.Bias[at:])
	}
}

// byFloats writes weights as float32, a block of K and a panel at a time, and multiplies up to
// manyRows rows by them, which stay in the caches.
func (t *Task) byFloats(w *workspace, work []float32, part *tiling.Part) {
	w.micro.Use()
	mr := w.micro.Rows()
	first, last := part.Tile*mr, min(part.TileEnd*mr, t.M)
	for blocks := tiling.Ceil(last-first, manyRows); blocks > 0; blocks-- {
		end := first + tiling.Ceil(last-first, blocks)
		for k := 0; k < t.Packed.k; k += depth {
			b := block{first: first, end: end, k: k, depth: min(depth, t.Packed.k-k), floats: work[:t.floatsAt()/4], rows: work[t.floatsAt()/4:]}
			for i := first; i < end; i++ {
				copy(b.rows[(i-first)*t.copyStride():][:b.depth], t.X[i*t.StrideX+k:])
			}
			for j := part.Panel; j < part.PanelEnd; j++ {
				t.widen(w, &b, j)
				t.multiply(w, &b, j)
			}
		}
		first = end
	}
}

// A block is some rows, and some elements of K.
type block struct {
	first, end int
	k, depth   int
	rows       []float32 // a copy of X's
	floats     []float32 // of a panel
}

// widen writes a panel's weights in the order that gemm's kernels read.
func (t *Task) widen(w *workspace, b *block, panel int) {
	width := w.micro.Width()
	for c := 0; c < panelCols; c += widenCols {
		w.args = args{w: t.weights(panel, b.k, c), out: unsafe.Pointer(&b.floats[c/width*width*b.depth+c%width]), ldw: 4 * width, groups: b.depth / groupSize}
		current().widen[t.Packed.format.index()](w.args.arg())
	}
}

// multiply adds the products with a panel to Y, and the biases to the last ones.
func (t *Task) multiply(w *workspace, b *block, panel int) {
	at := panel * panelCols
	n := min(panelCols, t.Packed.n-at)
	tiles := tiling.Ceil(b.end-b.first, w.micro.Rows())
	for i := range tiles {
		from, to := tiling.Rows(i, b.end-b.first, tiles)
		w.strip = gemm.Strip{Rows: to - from, N: n, K: b.depth, StrideA: t.copyStride(), B: b.floats, StrideC: t.StrideY, Continue: b.k > 0}
		w.strip.A, w.strip.C = b.rows[from*t.copyStride():], t.Y[(b.first+from)*t.StrideY+at:]
		w.micro.Multiply(&w.strip)
	}
	if t.Bias != nil && b.k+b.depth == t.Packed.k {
		for row := b.first; row < b.end; row++ {
			addTo(t.Y[row*t.StrideY+at:][:n], t.Bias[at:])
		}
	}
}

func addTo(y, bias []float32) {
	for j, b := range bias[:len(y)] {
		y[j] += b
	}
}
