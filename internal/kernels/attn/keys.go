package attn

// visible gives the keys [lo, hi) that query i of a batch item sees.
func (t *Problem) visible(item, i int) (lo, hi int) {
	k := &t.Keys
	lo, hi = 0, t.N
	p := i + k.Offset
	if k.Lens != nil {
		n := k.Lens[item/(t.items()/t.Batch[0])]
		hi = min(hi, n)
		p = i + n - t.M
	}
	if k.Left >= 0 {
		lo = max(lo, p-k.Left)
	}
	if k.Right >= 0 {
		hi = min(hi, p+k.Right+1)
	}
	return lo, max(hi, lo)
}

// hide sets the scores of the keys that a query doesn't see.
func (t *Task) hide(w *workspace, r rowTile, key, n int) {
	for i := r.row; i < r.end; i++ {
		lo, hi := t.visible(r.item, i)
		s := w.row(t, i-r.row, n)
		fill(s[:min(max(lo-key, 0), n)])
		fill(s[min(max(hi-key, 0), n):])
	}
}

func fill(s []float32) {
	for i := range s {
		s[i] = negInf
	}
}
