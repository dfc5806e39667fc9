package transpose

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

const (
	grainBytes = 64 << 10 // of a chunk, at least: about 5 µs
	tileSide   = 32       // elements
	tileLen    = tileSide * tileSide
	maxDims    = 16

	// A copy of so many bytes finds little in the caches: it reads long pieces of few
	// rows at a time, which the processor then fetches ahead.
	farBytes = 4 << 20
	farSide  = 2 << 10 // bytes
	farRows  = 8
	aliasing = 4 << 10 // rows so many bytes apart share the places of a cache
)

// dim is a loop of a copy; strides are in elements.
type dim struct{ n, dst, src int }

// Copy is a prepared copy between two strided layouts.
type Copy struct {
	given int   // bytes of an element, as asked
	elem  int   // and as moved
	dims  []dim // after merging, outermost first
	n     int
	parts int
	units int

	// dst[j·jd + i] = src[j + i·is] for the dimensions i and j of tiles, where
	// neither layout has the other's rows.
	tiled       bool
	i, j        dim
	ti, tj      int // elements of a tile
	tile        tileFunc
	move        func(dst, src unsafe.Pointer, n, dstStride, srcStride int)
	short       func(dst, src unsafe.Pointer, rows, n, dstStride, srcStride int) // where rows are
	dstLo, dst2 int                                                              // elements reached: [dstLo, dst2)
	srcLo, src2 int

	dst, src unsafe.Pointer
}

// tileFunc transposes h × w elements: dst[j·ds+i] = src[i·ss+j], i < h, j < w.
// Strides are in elements.
type tileFunc func(dst, src unsafe.Pointer, ds, ss, h, w int)

// NewCopy prepares dst[Σ i·dstStrides] = src[Σ i·srcStrides] for all i below
// shape. Strides are in elements of elem bytes; a stride of the source may be
// 0 (repeat) or negative.
func NewCopy(elem int, shape, dstStrides, srcStrides []int) (*Copy, error) {
	if !slices.Contains([]int{1, 2, 4, 8, 16}, elem) {
		return nil, fmt.Errorf("copy: elements of %d bytes: want 1, 2, 4, 8 or 16", elem)
	}
	if len(dstStrides) != len(shape) || len(srcStrides) != len(shape) {
		return nil, fmt.Errorf("copy: shape %v needs %d strides, found %v and %v", shape, len(shape), dstStrides, srcStrides)
	}
	c := &Copy{given: elem, elem: elem, n: 1, dst2: 1, src2: 1}
	for i, n := range shape {
		c.n *= n
		c.dims = append(c.dims, dim{n, dstStrides[i], srcStrides[i]})
	}
	if c.n == 0 {
		return c, nil
	}
	c.reach()
	c.merge()
	c.widen()
	if len(c.dims) > maxDims {
		return nil, fmt.Errorf("copy: shape %v has %d separate dimensions, %d are supported", shape, len(c.dims), maxDims)
	}
	c.plan()
	return c, nil
}

// reach finds the elements that are touched, for the check in Run.
func (c *Copy) reach() {
	for _, d := range c.dims {
		last := (d.n - 1) * d.dst
		c.dstLo, c.dst2 = c.dstLo+min(last, 0), c.dst2+max(last, 0)
		last = (d.n - 1) * d.src
		c.srcLo, c.src2 = c.srcLo+min(last, 0), c.src2+max(last, 0)
	}
}

// merge drops dimensions of 1, orders the others by the target's strides, and
// joins neighbours that make one longer row in both layouts.
func (c *Copy) merge() {
	dims := slices.DeleteFunc(c.dims, func(d dim) bool { return d.n == 1 })
	slices.SortStableFunc(dims, func(a, b dim) int { return abs(b.dst) - abs(a.dst) })
	c.dims = nil
	for _, d := range dims {
		if m := len(c.dims); m > 0 {
			if p := &c.dims[m-1]; p.dst == d.dst*d.n && p.src == d.src*d.n {
				*p = dim{p.n * d.n, d.dst, d.src}
				continue
			}
		}
		c.dims = append(c.dims, d)
	}
	if len(c.dims) == 0 {
		c.dims = []dim{{1, 1, 1}}
	}
}

func abs(x int) int { return max(x, -x) }

// widen lets pairs of elements that are neighbours in both layouts move as one.
func (c *Copy) widen() {
	for c.elem < 16 {
		last := &c.dims[len(c.dims)-1]
		if last.dst != 1 || last.src != 1 || last.n%2 != 0 || last.n*c.elem >= 64 {
			return
		}
		for _, d := range c.dims[:len(c.dims)-1] {
			if d.dst%2 != 0 || d.src%2 != 0 {
				return
			}
		}
		c.elem *= 2
		last.n /= 2
		for i := range len(c.dims) - 1 {
			c.dims[i].dst /= 2
			c.dims[i].src /= 2
		}
		if last.n == 1 && len(c.dims) > 1 {
			c.dims = c.dims[:len(c.dims)-1]
		}
	}
}

func (c *Copy) plan() {
	c.move = moveOf(c.elem)
	c.parts = split.Parts(c.n*c.given, grainBytes)
	last := len(c.dims) - 1
	repeats := c.dims[last].src == 0 && c.dims[last].n*c.elem >= 64 // one element fills a line and more
	if inner := c.dims[last]; inner.dst == 1 && inner.src != 1 && !repeats {
		for k, d := range c.dims[:last] {
			if d.src == 1 {
				c.planTiles(k)
				return
			}
		}
	}
	count := 1
	for _, d := range c.dims {
		count *= d.n
	}
	c.units = count
	if inner := c.dims[last]; last > 0 && inner.dst == 1 && inner.src == 1 {
		switch elem, bytes := c.elem, inner.n*c.elem; {
		case bytes >= 32 && bytes < longRow:
			copyRows := current().rows
			c.short = func(dst, src unsafe.Pointer, rows, n, ds, ss int) {
				copyRows(dst, src, rows, n*elem, ds*elem, ss*elem)
			}
		case inner.n <= shortRow:
			c.short = moveShort(elem)
		}
		if c.short != nil {
			c.units /= inner.n // rows
		}
	}
	c.parts = min(c.parts, c.units)
}

// planTiles makes dimension k and the last one those of the tiles.
func (c *Copy) planTiles(k int) {
	last := len(c.dims) - 1
	c.tiled, c.j, c.i = true, c.dims[k], c.dims[last]
	c.dims = slices.Delete(slices.Clone(c.dims[:last]), k, k+1)
	c.tile = tileOf(c.elem)
	if side := farSide / c.elem; c.n*c.given >= farBytes && c.j.n >= side && c.j.dst*c.elem%aliasing != 0 {
		c.tj, c.ti = side, min(c.i.n, farRows)
	} else {
		c.tj = min(c.j.n, tileSide)
		c.ti = min(c.i.n, tileLen/c.tj)
		c.tj = min(c.j.n, max(tileLen/c.ti, 1))
	}
	c.units = ceil(c.i.n, c.ti) * ceil(c.j.n, c.tj)
	for _, d := range c.dims {
		c.units *= d.n
	}
	c.parts = min(c.parts, c.units)
}

func ceil(a, b int) int { return (a + b - 1) / b }

// Run copies, starting at element dstOff of dst and srcOff of src. The two may
// not overlap.
func (c *Copy) Run(p *pool.Pool, dst, src []byte, dstOff, srcOff int) {
	if c.n == 0 {
		return
	}
	check("target", len(dst)/c.given, dstOff+c.dstLo, dstOff+c.dst2)
	check("source", len(src)/c.given, srcOff+c.srcLo, srcOff+c.src2)
	c.dst, c.src = unsafe.Pointer(&dst[dstOff*c.given]), unsafe.Pointer(&src[srcOff*c.given])
	p.RunFromEnds(c.parts, c)
	c.dst, c.src = nil, nil
}

func check(what string, have, lo, hi int) {
	if lo < 0 || hi > have {
		panic(fmt.Sprintf("transpose: copy reaches elements %d to %d of the %s, which has %d", lo, hi, what, have))
	}
}

// Do copies one chunk; it is called by the pool.
func (c *Copy) Do(part int) {
	if c.tiled {
		c.doTiles(part)
		return
	}
	lo, hi := split.Range(c.units, c.parts, part)
	last := len(c.dims) - 1
	inner := c.dims[last]
	var at cursor
	if c.short != nil {
		c.doShort(lo, hi)
		return
	}
	pos := lo % inner.n
	at.seek(c.dims[:last], lo/inner.n)
	for lo < hi {
		n := min(inner.n-pos, hi-lo)
		c.move(unsafe.Add(c.dst, (at.dst+pos*inner.dst)*c.elem), unsafe.Add(c.src, (at.src+pos*inner.src)*c.elem), n, inner.dst, inner.src)
		lo += n
		pos = 0
		at.next(c.dims[:last])
	}
}

// doShort copies rows lo to hi, all of the next dimension at once.
func (c *Copy) doShort(lo, hi int) {
	last := len(c.dims) - 1
	row, outer := c.dims[last].n, c.dims[last-1]
	var at cursor
	pos := lo % outer.n
	at.seek(c.dims[:last-1], lo/outer.n)
	for lo < hi {
		n := min(outer.n-pos, hi-lo)
		dst, src := unsafe.Add(c.dst, (at.dst+pos*outer.dst)*c.elem), unsafe.Add(c.src, (at.src+pos*outer.src)*c.elem)
		if outer.src == 0 && outer.dst == row { // one row again and again
			Fill(unsafe.Slice((*byte)(dst), n*row*c.elem), unsafe.Slice((*byte)(src), row*c.elem))
		} else {
			c.short(dst, src, n, row, outer.dst, outer.src)
		}
		lo += n
		pos = 0
		at.next(c.dims[:last-1])
	}
}

func (c *Copy) doTiles(part int) {
	lo, hi := split.Range(c.units, c.parts, part)
	ni, nj := ceil(c.i.n, c.ti), ceil(c.j.n, c.tj)
	var at cursor
	at.seek(c.dims, lo/(ni*nj))
	t := lo % (ni * nj)
	for u := lo; u < hi; u++ {
		i, j := t%ni*c.ti, t/ni*c.tj
		dst := unsafe.Add(c.dst, (at.dst+i+j*c.j.dst)*c.elem)
		src := unsafe.Add(c.src, (at.src+j+i*c.i.src)*c.elem)
		c.tile(dst, src, c.j.dst, c.i.src, min(c.ti, c.i.n-i), min(c.tj, c.j.n-j))
		if t++; t == ni*nj {
			t = 0
			at.next(c.dims)
		}
	}
}

// cursor is a position in nested loops.
type cursor struct {
	idx      [maxDims]int
	dst, src int
}

func (c *cursor) seek(dims []dim, pos int) {
	for i := len(dims) - 1; i >= 0; i-- {
		c.idx[i] = pos % dims[i].n
		pos /= dims[i].n
		c.dst += c.idx[i] * dims[i].dst
		c.src += c.idx[i] * dims[i].src
	}
}

func (c *cursor) next(dims []dim) {
	for i := len(dims) - 1; i >= 0; i-- {
		d := &dims[i]
		c.idx[i]++
		if c.idx[i] < d.n {
			c.dst += d.dst
			c.src += d.src
			return
		}
		c.idx[i] = 0
		c.dst -= (d.n - 1) * d.dst
		c.src -= (d.n - 1) * d.src
	}
}
