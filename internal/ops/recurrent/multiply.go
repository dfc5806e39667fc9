package recurrent

import "github.com/salver-ml/salver/internal/kernels/gemm"

// Limits of a block of R where it meets more rows than its panels can be read for
// side by side: few enough rows for those of the states to stay in the first cache, and
// few enough columns to stay in the second for all sequences.
const (
	blockRows  = 768
	blockBytes = 256 << 10
)

// A span is columns of R that are multiplied alike.
type span struct {
	from, to int // from begins a panel
	join     bool
	bias     []float32 // of these columns, or nil
}

// joins reports whether what the inputs give can be added to the products of states
// as they are stored: it lies a step's gates apart for the sequences, which it does not
// where they end at different times and go backwards, blocks of R are as deep as R,
// and a gate that it isn't added to begins a panel.
func (k *kernel) joins() bool {
	w, m := &k.run, &k.pieces[0].micro
	backwards := w.back || k.dirs == 2
	most := 0
	for i := range k.pieces {
		most = max(most, k.pieces[i].end-k.pieces[i].row)
	}
	whole := k.hidden <= blockRows || m.Side(most) > 1
	return !(backwards && w.lens != nil) && whole && (!k.linear || k.hidden%m.Width() == 0)
}

// spans appends those of a piece in a phase.
func (k *kernel) spans(s []span, p *piece, phase int) []span {
	_, gates := k.phase(phase)
	w, h := &k.run, k.hidden
	inner := k.dir[w.first+p.direction].inner
	apart := w.joined && k.linear // the last gate
	if k.whole() {
		if apart {
			return append(s, span{to: candidate * h, join: true}, span{from: candidate * h, to: gates * h, bias: inner})
		}
		return append(s, span{to: gates * h, join: w.joined})
	}
	for g := range gates {
		n := span{from: g*h + p.col, to: g*h + p.last, join: w.joined}
		if apart && g == candidate {
			n.join, n.bias = false, inner[p.col:p.last]
		}
		s = append(s, n)
	}
	return s
}

// multiply sets the gates of a phase of step i to the products of states by R.
//
// Blocks of R come in one order and in the other by turns: of an R that is larger than
// the second cache, the blocks that were read last are still there.
func (k *kernel) multiply(p *piece, state []float32, phase, i int) {
	var room [4]span
	spans := k.spans(room[:0], p, phase)
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
		blocks := (s.to - s.from + width - 1) / width
		for b := range blocks {
			if i%2 == 1 {
				b = blocks - 1 - b
			}
			from := s.from + b*width
			k.block(p, s, state, phase, i, from, min(width, s.to-from), depth)
		}
	}
}

// block multiplies the states of all sequences of a piece with n columns of R.
func (k *kernel) block(p *piece, s *span, state []float32, phase, i, from, n, depth int) {
	tiles := (p.end - p.row + p.micro.Rows() - 1) / p.micro.Rows()
	for at := 0; at < k.hidden; at += depth {
		for t := range tiles {
			row, end := p.row+t*(p.end-p.row)/tiles, p.row+(t+1)*(p.end-p.row)/tiles
			k.tile(p, s, state, phase, i, row, end, from, n, at, min(depth, k.hidden-at))
		}
	}
}

// tile multiplies the states of a few sequences with a block of R.
func (k *kernel) tile(p *piece, s *span, state []float32, phase, i, row, end, from, n, at, depth int) {
	w := &k.run.states[p.direction]
	r := k.dir[k.run.first+p.direction].r[phase]
	first, _ := k.phase(phase)
	g := k.gates * k.hidden
	strip := gemm.Strip{
		Rows: end - row, N: n, K: depth,
		A: state[row*k.hidden+at:], StrideA: k.hidden,
		B: r[from*k.hidden+at*p.micro.Width():], Panel: k.hidden * p.micro.Width(),
		C: w.gates[row*g+first*k.hidden+from:], StrideC: g,
		Continue: at > 0,
	}
	if s.bias != nil {
		strip.ColBias = s.bias[from-s.from:]
	}
	if s.join {
		t, _ := k.time(k.run.first+p.direction, row, i)
		strip.Residual, strip.StrideRes = w.x[k.inputAt(t, row)/k.in*g+first*k.hidden+from:], g
		if k.batchFirst {
			strip.StrideRes = k.seq * g
		}
	}
	p.micro.Multiply(&strip)
}
