package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// Weights in float16 and bfloat16 are panels of 16 columns, too: element k of
// column j at 16·k + j. Few rows are multiplied as the weights are read; for more,
// a panel is widened to float32 for the kernels of gemm, which compute the same.

// halfKernels multiply float32 rows by panels of a format of 16 bits.
type halfKernels struct {
	one, wide      kernel // one row, and a panel or four
	four, fourWide kernel // four rows, and a panel or two; fourWide may be nil
	widen          kernel
}

// halfArgs is what they take. The assembly knows the offsets.
type halfArgs struct {
	w     unsafe.Pointer
	x     unsafe.Pointer
	ldx   int // bytes from row to row
	k     int
	acc   unsafe.Pointer // results: 16 of each row of each panel; in widen, of each k
	panel int            // bytes from panel to panel
	ldw   int            // bytes from k to k of what widen writes
}

func (a *halfArgs) arg() *byte { return (*byte)(unsafe.Pointer(a)) }

// isHalf reports whether a format is plain floats of 16 bits.
func isHalf(f block.Format) bool { return f == block.F16 || f == block.BF16 }

// packHalf packs at most 16 rows of 16-bit floats, four elements at a time.
func (p *Packed) packHalf(dst, rows []byte, rowBytes int) {
	const step = 2 * cols // bytes from k to k
	n := len(rows) / rowBytes
	if n < cols {
		clear(dst)
	}
	for j := range n {
		src, to := rows[j*rowBytes:][:rowBytes], dst[2*j:]
		for ; len(src) >= 8; src, to = src[8:], to[min(4*step, len(to)):] {
			x := le.Uint64(src)
			le.PutUint16(to, uint16(x))
			le.PutUint16(to[step:], uint16(x>>16))
			le.PutUint16(to[2*step:], uint16(x>>32))
			le.PutUint16(to[3*step:], uint16(x>>48))
		}
		for ; len(src) > 0; src, to = src[2:], to[min(step, len(to)):] {
			le.PutUint16(to, le.Uint16(src))
		}
	}
}

// halfRows are as many as are multiplied without widening.
const halfRows = 8

// planHalf is newPlan for formats of 16 bits.
func (p *plan) planHalf() {
	p.half = p.kern.half[p.format]
	if p.m > halfRows || p.half.one == nil {
		var m gemm.Micro
		m.Use()
		p.mr = m.Rows()
		p.perSlot = 4 * p.k * halfWidth(&m)
	} else {
		p.mr = halfRows
		p.perSlot = accBytes
	}
	p.tiles, p.panels = tiling.Ceil(p.m, p.mr), tiling.Ceil(p.n, halfStep*cols)
	p.grid = tiling.Split(tiling.Shape{Items: 1, M: p.m, N: p.n, K: p.k, MR: p.mr, NR: halfStep * cols, ChunkWork: chunkWork}, p.threads)
	p.cut(2 * cols * halfStep * p.k)
}

// halfStep is the number of panels that make one of a plan's.
const halfStep = 4

// halfWidth is how many columns are widened at once: a panel of gemm's kernels.
func halfWidth(m *gemm.Micro) int { return max(cols, m.Width()) }

// runHalf computes a part.
func (t *Task) runHalf(w *workspace, scratch []byte, part *tiling.Part) {
	from, to := part.Panel*halfStep, min(part.PanelEnd*halfStep, tiling.Ceil(t.N, cols))
	first, last := part.Tile*t.plan.mr, min(part.TileEnd*t.plan.mr, t.M)
	if t.plan.mr != halfRows {
		t.widened(w, scratch, from, to, first, last)
		return
	}
	h, a := t.plan.half, &w.half
	*a = halfArgs{ldx: 4 * t.StrideX, k: t.K, acc: w.acc, panel: 2 * cols * t.K}
	for j := from; j < to; {
		n := 1
		if j+halfStep <= to && 2*cols*halfStep*t.K <= maxDirect*2 {
			n = halfStep
		}
		weights := t.panels(w, j, j+n)
		for i := first; i < last; {
			a.x = unsafe.Pointer(&t.X[i*t.StrideX])
			if i+4 <= last {
				for k := 0; k < n; {
					f, panels := h.four, 1
					if h.fourWide != nil && k+2 <= n {
						f, panels = h.fourWide, 2
					}
					a.w = unsafe.Add(weights, k*a.panel)
					t.halfPanel(w, f, i, 4, j+k, panels)
					k += panels
				}
				i += 4
				continue
			}
			f := h.one
			if n == halfStep {
				f = h.wide
			}
			a.w = weights
			t.halfPanel(w, f, i, 1, j, n)
			i++
		}
		j += n
	}
}

// halfPanel multiplies some rows by some panels, which the arguments point at.
func (t *Task) halfPanel(w *workspace, f kernel, row, rows, panel, panels int) {
	f(w.half.arg())
	for k := range panels {
		t.finish(w, row, rows, panel+k, k*rows)
	}
}

// widened converts panels to float32 and multiplies by them.
func (t *Task) widened(w *workspace, scratch []byte, from, to, first, last int) {
	w.micro.Use()
	width := halfWidth(&w.micro)
	floats := unsafe.Slice((*float32)(unsafe.Pointer(&scratch[0])), len(scratch)/4)
	for j := from; j < to; j += width / cols {
		end := min(j+width/cols, to)
		for k := j; k < end; k++ {
			w.half = halfArgs{w: t.panels(w, k, k+1), k: t.K, acc: unsafe.Pointer(&floats[(k-j)*cols]), ldw: 4 * width}
			t.plan.half.widen(w.half.arg())
		}
		s := &w.strip
		*s = gemm.Strip{N: min(t.N-j*cols, (end-j)*cols), K: t.K, StrideA: t.StrideX, B: floats, StrideC: t.StrideY, StrideRes: t.StrideR}
		if t.Bias != nil {
			s.ColBias = t.Bias[j*cols:]
		}
		next := t.packedBytes(end, min(end+width/cols, to)) // else its widening waits for memory
		for i := first; i < last; i += s.Rows {
			s.Rows = tiling.Ceil(last-i, tiling.Ceil(last-i, t.plan.mr))
			s.Fetch = next[len(next)*(i-first)/(last-first) : len(next)*(i-first+s.Rows)/(last-first)]
			s.A, s.C = t.X[i*t.StrideX:], t.Y[i*t.StrideY+j*cols:]
			if t.Residual != nil {
				s.Residual = t.Residual[i*t.StrideR+j*cols:]
			}
			w.micro.Multiply(s)
		}
	}
	w.strip = gemm.Strip{}
}

// portableWiden is the kernel of a conversion to float32.
func portableWiden(float func(uint16) float32) kernel {
	return func(arg *byte) {
		a := (*halfArgs)(unsafe.Pointer(arg))
		src := view[uint16](a.w, a.k*cols)
		for k := range a.k {
			dst := view[float32](unsafe.Add(a.acc, k*a.ldw), cols)
			for j, v := range src[k*cols : (k+1)*cols] {
				dst[j] = float(v)
			}
		}
	}
}

// referenceHalf is Reference for formats of 16 bits.
func referenceHalf(y []float32, f block.Format, m, n, k int, x []float32, rows []byte) {
	w := make([]float32, k)
	for j := range n {
		block.Decode(f, w, rows[2*j*k:2*(j+1)*k])
		for i := range m {
			var s float32
			for e, v := range w {
				s = fma(v, x[i*k+e], s)
			}
			y[i*n+j] = s
		}
	}
}
