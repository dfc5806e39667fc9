package attn

import (
	"github.com/salver-ml/salver/internal/kernels/gemm"
	"github.com/salver-ml/salver/internal/kernels/softmax"
)

// halfTile is tile in bfloat16: scores become weights where they lie, which are then
// an operand as they are.
func (t *Task) halfTile(w *workspace, r rowTile, p part) {
	scale := t.halfScores(w, r, p)
	if t.Keys.Limited {
		t.hide(w, r, p.key, p.n)
	}
	rows := r.end - r.row
	softmax.Weights(w.scores, t.plan.padded, p.n, scale, w.largest[r.state:][:rows], w.tops, w.parts)
	for i := range rows {
		t.raise(w, r, r.row+i, w.tops[i], w.parts[i])
	}
	s := &w.strip
	*s = gemm.Strip{Rows: rows, N: t.DV, K: p.n, A: w.scores, StrideA: t.plan.padded, B: w.vals, Continue: p.key > 0 || t.skips(),
		C: t.O.Data[r.out:], StrideC: t.O.Stride}
	w.bf16.MultiplyRounded(s)
}

// halfScores computes scores that are yet to be multiplied by what it returns.
func (t *Task) halfScores(w *workspace, r rowTile, p part) float32 {
	if t.Mask.Data != nil || t.Softcap > 0 || t.HasFill || !(t.Scale > 0) {
		t.score(w, r, p)
		return 1
	}
	s := &w.strip
	*s = gemm.Strip{Rows: r.end - r.row, N: p.n, K: t.D, B: w.keys, C: w.scores, StrideC: t.plan.padded}
	t.queries(w, s, r)
	w.bf16.Sums(s)
	return t.Scale
}
