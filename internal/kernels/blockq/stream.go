package blockq

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/salver-ml/salver/internal/mmap"
)

// A product may be computed before its weights are packed, or all of them. Each thread packs the panels that
// it needs next, multiplies by them while they are in its cache, and forgets them. That takes
// longer than reading what is packed, but no memory, whose pages the system clears before it
// gives them: packing takes several times as long as such a product.

// streamed is how many bytes of weights are packed at a time: while some are multiplied by,
// the next ones come from memory.
const streamed = 64 << 10

// Stream has products read rows, as Pack takes them, since nothing is packed yet.
func (p *Packed) Stream(rows []byte) error {
	row, err := p.format.RowBytes(p.k)
	if err != nil {
		return err
	}
	if len(rows) != p.n*row {
		return fmt.Errorf("blockq: %d rows of %d elements of %v have %d bytes, got %d", p.n, p.k, p.format, p.n*row, len(rows))
	}
	p.rows = rows
	return nil
}

// Ready has products read the first panels as they have been packed meanwhile.
func (p *Packed) Ready(panels int) {
	if p.ready = panels; panels == Panels(p.n) {
		p.rows = nil
	}
}

// Streams reports whether the product can be computed, on so many threads, before the
// weights are packed.
func (t *Task) Streams(threads int) bool {
	p := t.newPlan(threads)
	return p.layout == nil || !p.prompt && !p.kern.tiled(p.m)
}

// streams has memory for panels that no thread uses.
var streams = sync.Pool{New: func() any { return new([]byte) }}

// panels gives some panels as they are packed. They stay until the next ones are asked for.
func (t *Task) panels(w *workspace, from, to int) unsafe.Pointer {
	p, size := t.Packed, t.Packed.panelBytes()
	if p.rows == nil || to <= p.ready {
		return unsafe.Pointer(&p.data[from*size])
	}
	if w.stream == nil {
		w.stream = streams.Get().(*[]byte)
	}
	need := (to - from) * size
	b := slices.Grow((*w.stream)[:0], need+vector)[:need+vector]
	*w.stream = b
	b = aligned(b)[:need]
	if !p.read.Load() {
		row := len(p.rows) / p.n
		mmap.PopulateRead(p.rows[from*cols*row : min(to*cols, p.n)*row])
	}
	p.packRange(b, from, to, p.rows)
	return unsafe.Pointer(&b[0])
}

// packedBytes are the bytes of some panels, nil if they are not packed.
func (t *Task) packedBytes(from, to int) []byte {
	p, size := t.Packed, t.Packed.panelBytes()
	if p.rows != nil && to > p.ready {
		return nil
	}
	return p.data[from*size : to*size]
}

// endStream gives the memory of panels back.
func (w *workspace) endStream() {
	if w.stream != nil {
		streams.Put(w.stream)
		w.stream = nil
	}
}
