package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/blend"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/kernels/tiling"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// planes interpolates two axes beside each other, as interpolation does, row by row of
// the output: what lies between the two passes stays in the cache.
type planes struct {
	dims       []int
	rows, cols *pass // along the outer axis, and within a row
	rowsFirst  bool
	parts      int
	slots      tiling.Slots
	threads    int

	between  int // floats of a row between the passes
	group    int // rows that are interpolated within at once
	groups   int // of them that a thread keeps
	dst, src []float32
	room     []float32
}

// mostTaps is that of an axis that grows.
const mostTaps = 4

// newPlanes gives nil where the passes are not along axes beside each other.
func newPlanes(k *interpolation, threads int) op.Kernel {
	first, second := k.passes[0], k.passes[1]
	p := &planes{dims: k.dims, threads: max(min(threads, tiling.MaxSlots), 1), group: 1, parts: second.parts}
	switch {
	case first.inner == second.in*second.inner: // rows, then within them
		p.rows, p.cols, p.rowsFirst = first, second, true
		p.between = first.inner
	case second.inner == first.out*first.inner:
		p.rows, p.cols = second, first
		p.between = second.inner
	default:
		return nil
	}
	if p.cols.inner == 1 {
		p.group = 4
	}
	p.groups = 1
	if !p.rowsFirst {
		if p.rows.n > mostTaps {
			return nil
		}
		p.groups = p.rows.n/p.group + 2
	}
	p.parts = split.Parts(tensor.Count(k.dims)*p.rows.n, 16<<10)
	return p
}

// ScratchBytes is room for the rows between the passes.
func (k *planes) ScratchBytes() int {
	return op.FloatBytes(k.threads * k.groups * k.group * k.between)
}

func (k *planes) Run(c *op.Call) error {
	k.dst, k.src = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...)), tensor.Of[float32](c.In[0])
	k.room = tensor.View[float32](c.Scratch)
	k.slots.Reset(k.threads)
	c.Pool.Run(k.parts, k)
	k.dst, k.src, k.room = nil, nil, nil
	return nil
}

// Do computes one chunk of rows; it is called by the pool.
func (k *planes) Do(part int) {
	lo, hi := split.Range(k.rows.outer*k.rows.out, k.parts, part)
	if lo == hi {
		return
	}
	slot := k.slots.Take()
	size := k.groups * k.group * k.between
	room := k.room[slot*size : (slot+1)*size]
	if k.rowsFirst {
		k.rowsThenCols(room, lo, hi)
	} else {
		k.colsThenRows(room, lo, hi)
	}
	k.slots.Give(slot)
}

func (k *planes) rowsThenCols(room []float32, lo, hi int) {
	plane, width := k.rows.in*k.between, k.cols.out*k.cols.inner
	for lo < hi {
		n := min(k.group, hi-lo)
		for i := range n {
			o := (lo + i) / k.rows.out
			k.rows.row(room[i*k.between:(i+1)*k.between], k.src[o*plane:(o+1)*plane], (lo+i)%k.rows.out)
		}
		k.cols.items(k.dst[lo*width:(lo+n)*width], room[:n*k.between])
		lo += n
	}
}

// colsThenRows keeps the groups of rows that the next outputs may need: group g of a plane
// is in place g modulo their number.
func (k *planes) colsThenRows(room []float32, lo, hi int) {
	r := k.rows
	width, size := k.cols.in*k.cols.inner, k.group*k.between
	var of [mostTaps + 2]int // 1 + the group in each place, counted through all planes
	each := tiling.Ceil(r.in, k.group)
	for ; lo < hi; lo++ {
		o, i := lo/r.out, lo%r.out
		dst := k.dst[lo*k.between : (lo+1)*k.between]
		for tap := i * r.n; tap < (i+1)*r.n; tap++ {
			row := int(r.index[tap])
			g := row / k.group
			place := g % k.groups
			if of[place] != 1+o*each+g {
				from, to := g*k.group, min((g+1)*k.group, r.in)
				k.cols.items(room[place*size:][:(to-from)*k.between], k.src[(o*r.in+from)*width:(o*r.in+to)*width])
				of[place] = 1 + o*each + g
			}
		}
		k.blend(dst, room, i)
	}
}

// blend computes output i of a plane's rows from those that are kept.
func (k *planes) blend(dst, room []float32, i int) {
	r, size := k.rows, k.group*k.between
	var offsets [mostTaps]int
	for j, row := range r.index[i*r.n : (i+1)*r.n] {
		g := int(row) / k.group
		offsets[j] = 4 * (g%k.groups*size + int(row)%k.group*k.between)
	}
	if k.between >= leastInner {
		blend.Rows(dst, room, offsets[:r.n], r.weight[i*r.n:(i+1)*r.n])
		return
	}
	for j, o := range offsets[:r.n] {
		scaleRow(dst, room[o/4:][:k.between], r.weight[i*r.n+j], j > 0)
	}
}
