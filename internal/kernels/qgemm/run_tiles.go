package qgemm

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/amx"
)

const (
	mostSteps = 1024 // of a call, about, which then takes 30 µs
	runBytes  = 512  // that are fetched at a time
	halfRows  = 16   // of a tile
	sumsBytes = 4 * maxRows * maxCols
)

// tileConfig is what LDTILECFG loads.
type tileConfig struct {
	palette, startRow uint8
	_                 [14]uint8
	colBytes          [16]uint16
	rows              [16]uint8
}

// set makes the configuration for blocks of so many rows.
func (c *tileConfig) set(rows int) {
	*c = tileConfig{palette: 1}
	near, far := min(rows, halfRows), max(rows-halfRows, 0)
	for i, n := range [8]int{near, near, far, far, near, far, halfRows, halfRows} {
		if n > 0 {
			c.rows[i], c.colBytes[i] = uint8(n), amx.StepBytes
		}
	}
}

// setStrip sets what is the same for all strips of a batch item.
func (t *Task) setStrip(w *workspace) {
	x := &w.tile
	x.k = t.plan.steps
	x.config = unsafe.Pointer(&w.config)
	x.sums = unsafe.Pointer(&w.scratch[t.plan.sums])
	if t.Gelu {
		x.flags |= flagGelu
	}
	if t.C.Byte != nil {
		x.flags |= flagBytes
		x.ldc = t.C.Stride
		x.least, x.most = t.C.limits()
		x.zero = t.C.Zero
	}
}

// strip computes a row tile of some panels.
func (t *Task) strip(w *workspace, row, from, to int) {
	p, x := &t.plan, &w.tile
	w.config.set(x.rows)
	x.far = halfRows * x.lda
	x.stepRows = (x.rows + max(p.steps, 1) - 1) / max(p.steps, 1)
	f := p.kern.strip[bit(t.A.Signed)][bit(x.rows > halfRows)]
	data, most := t.packed(w.item, 0, p.panels), max(1, mostSteps/max(p.steps, 1))
	for j := from; j < to; j += most {
		x.panels = min(most, to-j)
		x.b = at(data, j*p.steps*amx.StepB)
		x.columns = t.N - j*p.kern.nr
		t.setColumns(w, row, j)
		x.nextRuns = max(1, amx.StepB/runBytes/max(w.calls, 1)) // its share of what a row tile has
		w.fetch(p.steps * x.panels * x.nextRuns * runBytes)
		f(x.arg())
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
