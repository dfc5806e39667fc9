package qconv

import "github.com/salver-ml/salver/internal/kernels/qgemm"

// 1×1 kernels are products of matrices, of which those with AVX2 multiply bytes as package qgemm
// has it: pairs of weights that VPMADDUBSW can't add up are clipped, and sums start from what
// is left of them. Of fewer inputs more pairs are large, and there is less to gain.

const leastClipped = 96 // inputs

// mayClip says whether weights may be clipped.
func (k *packing) mayClip() bool {
	p := &k.p
	return k.kern.innerSums != nil && p.flat() && p.Groups == 1 && p.Parts <= 1 && p.In >= leastClipped && p.In <= qgemm.MostClipK && p.In%4 == 0
}

// mostSpills is for how many there is room.
func (k *packing) mostSpills() int { return k.p.In*k.p.Out/64 + k.p.Out/2 }

func (k *packing) spillsSize() int { return qgemm.SpillsSize(k.p.Out, k.mostSpills()) }

// spills are behind the panels.
func (k *packing) spills(packed []byte) qgemm.Spills {
	return qgemm.SpillsIn(packed[k.bytes-k.spillsSize():k.bytes], k.p.Out, k.mostSpills())
}

// clip clips packed weights, and gives false where there is not room for what is left of them.
func (k *packing) clip(dst []byte) bool {
	body := func(x panel) ([]byte, int) {
		lanes := x.vectors * k.kern.lanes
		return dst[x.at:][8*lanes:][:4*lanes*k.groups], lanes
	}
	n := 0
	for _, x := range k.panels {
		n += qgemm.CountSpills(body(x))
	}
	if n > k.mostSpills() {
		return false
	}
	s := k.spills(dst)
	for _, x := range k.panels {
		b, lanes := body(x)
		s.Clip(b, lanes, x.first, x.n)
	}
	return true
}

// clipped says whether the weights were.
func (r *Runner) clipped() bool { return r.plan.packed.mayClip() && r.op.Packed[0] == packedClipped }

// clipAt is where the chunks' working memory begins, and clipBytes what one has.
func (pl *Plan) clipAt() int {
	if pl.copied {
		return pl.copyBytes(1)
	}
	return 0
}

func (pl *Plan) clipBytes() int { return align(qgemm.SpillScratch(pl.p.In)) }

// clipScratch is the working memory of clipped weights.
func (pl *Plan) clipScratch(threads int) int {
	chunks := 1
	if threads > 1 {
		chunks = pl.mostChunks(threads)
	}
	return pl.clipAt() + chunks*pl.clipBytes()
}

// clippedPanels computes tiles [lo, hi) of some panels as chunk i, in blocks of pixels.
func (r *Runner) clippedPanels(w *workspace, i, first, last, lo, hi int) {
	pl := r.plan
	scratch := r.op.Scratch[pl.clipAt()+i*pl.clipBytes():][:pl.clipBytes()]
	spills, total := pl.packed.spills(r.op.Packed), r.images*pl.h.Out*pl.w.Out
	for tiles := qgemm.SpillRows / pl.kern.pairsPixels; lo < hi; lo += tiles {
		end := min(lo+tiles, hi)
		w.pixel0 = lo * total / r.cut.units
		w.span = end*total/r.cut.units - w.pixel0
		w.src = r.src[w.pixel0*pl.p.In:]
		w.block.Set(scratch, w.src, w.span, pl.p.In, pl.p.In)
		for n, x := range pl.packed.panels[first:last] {
			w.taken, w.perPixel = w.block.Sums(spills, x.first, x.n), qgemm.SpillColumns
			r.panels(w, first+n, first+n+1, lo, end)
		}
	}
	w.pixel0, w.taken, w.block = 0, nil, qgemm.SpillBlock{}
}
