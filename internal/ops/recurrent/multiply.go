package recurrent

import "github.com/salver-ml/salver/internal/kernels/gemm"

// Limits of a block of R where it meets more rows than its panels can be read for
// side by side: few enough rows for those of the states to stay in the first cache, and
// few enough columns to stay in the second for all sequences.
const (
	blockRows  = 768
	blockBytes = 256 << 10
)

// A span is columns of R that are multiplied alike: a block of gates of a part.
type span struct {
	r    []float32 // in panels
	at   int       // where they are among all of a row
	n    int
	join bool
	bias []float32 // of these columns, or nil
}

// joins reports whether what the inputs give can be added to the products of states
// as they are stored: it lies a step's gates apart for the sequences, which it does not
// where they end at different times and go backwards, and blocks of R are as deep as R.
func (k *kernel) joins() bool {
	w, m := &k.run, &k.pieces[0].micro
	backwards := w.back || k.dirs == 2
	most := 0
	for i := range k.pieces {
		most = max(most, k.pieces[i].end-k.pieces[i].row)
	}
	whole := k.hidden <= blockRows || m.Side(most) > 1
	return !(backwards && w.lens != nil) && whole
}

// spans appends those of a piece in a phase.
func (k *kernel) spans(s []span, p *piece, phase int) []span {
	l := &k.dir[k.run.first+p.direction]
	for block := range k.blocks() {
		if k.resets() && block != phase {
			continue
		}
		first, gates := k.gatesOf(block)
		r := l.r[block]
		for i, x := range k.parts {
			n := gates * x.width()
			size := p.micro.PanelSize(k.hidden, n)
			if i >= p.first && i < p.first+len(p.parts) {
				t := span{r: r[:size], at: k.gates*x.col + first*x.width(), n: n, join: k.run.joined}
				if k.run.joined && k.linear && first == candidate {
					t.join, t.bias = false, l.inner[x.col:x.last]
				}
				s = append(s, t)
			}
			r = r[size:]
		}
	}
	return s
}

// multiply sets the gates of a phase of step i to the products of states by R.
//
// Blocks of R come in one order and in the other by turns: of an R that is larger than
// the second cache, the blocks that were read last are still there.
func (k *kernel) multiply(p *piece, state []float32, phase, i int) {
	spans := k.spans(p.spans[:0], p, phase)
	nr, depth := p.micro.Width(), min(k.hidden, blockRows)
	width := max(blockBytes/4/depth/nr, 1) * nr
	if few := p.micro.Side(p.end - p.row); few > 1 {
		width, depth = few*nr, k.hidden
	}
	for n := range spans {
		s := &spans[n]
		if i%2 == 1 {
			s = &spans[len(spans)-1-n]
		}
		blocks := (s.n + width - 1) / width
		for b := range blocks {
			if i%2 == 1 {
				b = blocks - 1 - b
			}
			k.block(p, s, state, i, b*width, min(width, s.n-b*width), depth)
		}
	}
}

// block multiplies the states of all sequences of a piece with n columns of a span.
func (k *kernel) block(p *piece, s *span, state []float32, i, from, n, depth int) {
	tiles := (p.end - p.row + p.micro.Rows() - 1) / p.micro.Rows()
	for at := 0; at < k.hidden; at += depth {
		for t := range tiles {
			row, end := p.row+t*(p.end-p.row)/tiles, p.row+(t+1)*(p.end-p.row)/tiles
			k.tile(p, s, state, i, row, end, from, n, at, min(depth, k.hidden-at))
		}
	}
}

// tile multiplies the states of a few sequences with a block of R.
func (k *kernel) tile(p *piece, s *span, state []float32, i, row, end, from, n, at, depth int) {
	w := &k.run.states[p.direction]
	g := k.gates * k.hidden
	strip := gemm.Strip{
		Rows: end - row, N: n, K: depth,
		A: state[row*lines(k.hidden)+at:], StrideA: lines(k.hidden),
		B: s.r[from*k.hidden+at*p.micro.Width():], Panel: k.hidden * p.micro.Width(),
		C: w.gates[row*lines(g)+s.at+from:], StrideC: lines(g),
		Continue: at > 0,
	}
	if s.bias != nil {
		strip.ColBias = s.bias[from:]
	}
	if s.join {
		t, _ := k.time(k.run.first+p.direction, row, i)
		strip.Residual, strip.StrideRes = w.x[k.inputAt(t, row)/k.in*g+s.at+from:], g
		if k.batchFirst {
			strip.StrideRes = k.seq * g
		}
	}
	p.micro.Multiply(&strip)
}
