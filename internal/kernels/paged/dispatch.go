package paged

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype"
)

// kernels is what an instruction-set level provides.
type kernels struct {
	score32, score16, sum32, sum16 spanFunc

	// load prepares a unit's rows of Q, of some heads of keys.
	load func(t *Task, w *workspace, u *unit, head, heads int)

	// packKeys writes a panel of AMX products, of 32 keys of d elements, and packValues
	// the values of some blocks to panels that lie so many bytes apart. Both read blocks
	// in float32 or float16.
	packKeys32, packKeys16     func(dst *uint16, list *uintptr, d int)
	packValues32, packValues16 func(dst *uint16, list *uintptr, panel, d, blocks int)

	// weigh turns rows of n scores, a multiple of lanes, into weights relative to the
	// largest so far. It brings that and the sums of the weights up to date, and sets
	// the factors for what was summed before.
	weigh func(w *workspace, part state, rows, n int)

	// join multiplies rows of d elements of o by factors f and adds those of a part
	// times g.
	join func(o, part, f, g []float32, d int)

	// divide makes rows of d elements those of o, divided by their sums.
	divide func(dst, o, sums []float32, d int)
}

// A spanFunc works on a span of keys: a score computes the scores of its tokens for
// the span's rows, a sum adds the weighted values of the tokens to the state's o, which it
// multiplies by the factors first where the span begins a tile.
type spanFunc func(t *Task, w *workspace, part state, s *span)

func (k *kernels) score(t dtype.Type) spanFunc {
	if t == dtype.Float16 {
		return k.score16
	}
	return k.score32
}

func (k *kernels) sum(t dtype.Type) spanFunc {
	if t == dtype.Float16 {
		return k.sum16
	}
	return k.sum32
}

func current() *kernels { return forLevel(cpu.Level()) }

// portable is the specification of the other kernels.
var portable = kernels{
	score32: score[float32], score16: score[uint16], sum32: sum[float32], sum16: sum[uint16],
	load: load, weigh: weigh, join: join, divide: divide,
}
