package attn

import (
	"math"

	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/kernels/tiling"
)

// The sums of weights in float32 that count, far enough from where products with values
// would overflow or lose digits.
const (
	leastFlow = 0x1p-60
	mostFlow  = 0x1p60
)

// A flowPlan says where in a slot's scratch what a chunk in float32 needs is: 16 sums of
// weights for each query, what is added to the scores of a tile of keys, the sums of a row
// tile, and which queries are computed again.
type flowPlan struct{ l, bias, sums, failed, end int }

func (p *plan) flowPlan(from int) flowPlan {
	f := flowPlan{l: tiling.Align(from, 16)}
	f.bias = f.l + p.rows*softmax.PowerSums
	f.sums = f.bias + tiling.Align(min(p.n, TileKeys), lanes)
	f.failed = f.sums + tiling.Align(p.micro.Rows(), 16)
	f.end = f.failed + p.rows
	return f
}

// flow computes row tiles of the items that share keys and values: a score's weight is a
// power of two, whatever the other scores are.
func (t *Task) flow(w *workspace, unit, first, end int) {
	p := &t.plan.flow
	clear(w.stream[p.l:p.bias])
	clear(w.stream[p.failed:p.end])
	if t.skips() {
		for i := first; i < end; i++ {
			t.begin(w, t.rowTile(unit, i, first))
		}
	}
	for key := 0; key < t.N; key += TileKeys {
		n := min(TileKeys, t.N-key)
		packed, biased := false, -1
		for i := first; i < end; i++ {
			r := t.rowTile(unit, i, first)
			lo, hi := t.span(r, key, n, false)
			if lo >= hi {
				continue
			}
			if !packed {
				t.pack(w, r.item, key, n)
				packed = true
			}
			if biased != r.item && t.biases(n) {
				t.keyBias(w.stream[p.bias:p.sums], r.item, key, n)
				biased = r.item
			}
			at := part{key, n, lo, hi}
			t.powers(w, r, at)
			t.weigh(w, r, at)
		}
	}
	missed := false
	for i := first; i < end; i++ {
		r := t.rowTile(unit, i, first)
		s := settling{
			o: t.O.Data[r.out:], ldo: t.O.Stride, l: w.stream[p.l+r.state*softmax.PowerSums:], sums: w.stream[p.sums:],
			failed: w.stream[p.failed+r.state:], least: leastFlow, most: mostFlow,
		}
		missed = t.settle(w, r, &s) || missed
	}
	if missed {
		t.again(w, unit, first, end, w.stream[p.failed:p.end])
	}
}

// biases reports whether anything is added to the scores of a tile of n keys.
func (t *Task) biases(n int) bool {
	return t.Mask.Data != nil || n%t.plan.micro.(*gemm.Micro).Width() != 0
}

// powers computes 2^(scale·Q·Kᵀ + mask), with scale and mask in powers of two, and adds
// them to the sums of queries.
func (t *Task) powers(w *workspace, r rowTile, p part) {
	rows, n := r.end-r.row, tiling.Align(p.hi-p.lo, w.fp32.Width())
	sums := w.stream[t.plan.flow.l+r.state*softmax.PowerSums:][:rows*softmax.PowerSums]
	s := &w.strip
	*s = gemm.Strip{Rows: rows, N: n, K: t.D, B: w.keys[p.lo*t.D:], C: w.scores, StrideC: t.plan.padded,
		Alpha: float32(float64(t.Scale) * math.Log2E)}
	if t.biases(p.n) {
		s.ColBias = w.stream[t.plan.flow.bias+p.lo:]
	}
	if w.fp32.Powers() {
		s.Sums = sums
	}
	t.queries(w, s, r)
	w.fp32.Multiply(s)
	if !w.fp32.Powers() {
		softmax.Powers(w.scores, t.plan.padded, n, sums)
	}
}
