package contrib

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// attention is the sizes and numbers of one call of an attention operator:
// softmax(scale·Q·Kᵀ + bias)·V, where keys and values may have fewer heads than
// queries.
type attention struct {
	batch, seq, past, total int // queries are at past, past+1, …; total keys
	heads, kvHeads          int
	size, vsize             int       // of a head
	q, k, v                 []float64 // [batch, heads, sequence, size]
	scale, softcap          float64   // softcap 0 is none
	sinks                   []float64 // for each head a score that takes weight but has no value, or nil
	bias                    func(b, head, i, j int) float64
	scores                  []float64 // [batch, heads, seq, total], kept if it is not nil
	keepProbabilities       bool      // scores are kept after softmax, not before
}

// keyRow and valueRow give element j of a head of queries.
func (a *attention) keyRow(b, head, j int) []float64 {
	return a.k[((b*a.kvHeads+head/(a.heads/a.kvHeads))*a.total+j)*a.size:][:a.size]
}

func (a *attention) valueRow(b, head, j int) []float64 {
	return a.v[((b*a.kvHeads+head/(a.heads/a.kvHeads))*a.total+j)*a.vsize:][:a.vsize]
}

// run gives [batch, seq, heads·vsize]. A query that sees no key gives zeros.
func (a *attention) run() []float64 {
	y := make([]float64, a.batch*a.seq*a.heads*a.vsize)
	p := make([]float64, a.total)
	for at := range a.batch * a.heads * a.seq {
		i, head, b := at%a.seq, at/a.seq%a.heads, at/a.seq/a.heads
		q := a.q[at*a.size:][:a.size]
		for j := range p {
			p[j] = 0
			for d, v := range a.keyRow(b, head, j) {
				p[j] += float64(q[d] * v)
			}
			p[j] *= a.scale
			if a.softcap > 0 {
				p[j] = a.softcap * math.Tanh(p[j]/a.softcap)
			}
			p[j] += a.bias(b, head, i, j)
		}
		if a.scores != nil && !a.keepProbabilities {
			for j, x := range p {
				if !math.IsInf(x, -1) { // hidden keys show as 0, as onnxruntime has it
					a.scores[at*a.total+j] = x
				}
			}
		}
		a.weigh(p, head)
		if a.scores != nil && a.keepProbabilities {
			copy(a.scores[at*a.total:], p)
		}
		out := y[((b*a.seq+i)*a.heads+head)*a.vsize:][:a.vsize]
		for j, w := range p {
			if w == 0 {
				continue
			}
			for d, v := range a.valueRow(b, head, j) {
				out[d] += float64(w * v)
			}
		}
	}
	return y
}

// weigh makes weights of one query's scores.
func (a *attention) weigh(p []float64, head int) {
	top, sum := math.Inf(-1), 0.
	if a.sinks != nil {
		top = a.sinks[head]
	}
	for _, x := range p {
		top = max(top, x)
	}
	if math.IsInf(top, -1) {
		clear(p)
		return
	}
	if a.sinks != nil {
		sum = math.Exp(a.sinks[head] - top)
	}
	for j, x := range p {
		p[j] = math.Exp(x - top)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
}

// splitHeads reads [batch, sequence, heads·size] from columns first on of rows of
// the given width, plus a bias of that width, as [batch, heads, sequence, size].
func splitHeads(v []float64, batch, seq, width, first, heads, size int, bias []float64) []float64 {
	out := make([]float64, batch*heads*seq*size)
	for at := range out {
		d, i, head, b := at%size, at/size%seq, at/size/seq%heads, at/size/seq/heads
		col := first + head*size + d
		out[at] = v[(b*seq+i)*width+col]
		if bias != nil {
			out[at] += bias[head*size+d]
		}
	}
	return out
}

// joined puts new keys or values, [items, fresh, size], behind those of the past,
// [items, room, size] of which kept are valid.
func joined(past []float64, items, room, kept int, v []float64, fresh, size int) []float64 {
	total := kept + fresh
	out := make([]float64, items*total*size)
	for i := range items {
		copy(out[i*total*size:], past[i*room*size:][:kept*size])
		copy(out[(i*total+kept)*size:], v[i*fresh*size:][:fresh*size])
	}
	return out
}

// masks reads a mask in its forms: the number of keys of each sequence, those
// and their starts, or a flag for each key (and query); what it hides gets
// mask_filter_value added. A bias that broadcasts to the scores is added too.
func (a *attention) masks(n *ir.Node, mask, bias *tensor.Tensor) (func(b, head, i, j int) float64, error) {
	filter := float64(n.Float("mask_filter_value"))
	total := a.total
	open := func(b, i, j int) bool { return true }
	if t := mask; t != nil {
		m := tensor.Of[int32](t)
		switch {
		case len(t.Shape) == 1 && len(m) == a.batch:
			open = func(b, _, j int) bool { return j < int(m[b]) }
		case len(t.Shape) == 1 && len(m) == 2*a.batch:
			open = func(b, _, j int) bool { return j < int(m[b]) && j >= int(m[a.batch+b]) }
		case len(t.Shape) == 2 && len(m) == a.batch*total:
			open = func(b, _, j int) bool { return m[b*total+j] != 0 }
		case len(t.Shape) == 3 && len(m) == a.batch*a.seq*total:
			open = func(b, i, j int) bool { return m[(b*a.seq+i)*total+j] != 0 }
		default:
			return nil, fmt.Errorf("mask is %s, expected [%d], [%d], [%d,%d] or [%d,%d,%d]", t, a.batch, 2*a.batch, a.batch, total, a.batch, a.seq, total)
		}
	}
	extra, err := a.biasOf(bias)
	if err != nil {
		return nil, err
	}
	causal := n.Bool("unidirectional")
	// The last query sees all keys: onnxruntime's rule where there are more keys
	// than past and new tokens.
	return func(b, head, i, j int) float64 {
		if causal && j > a.past+i && i < a.seq-1 {
			return -math.MaxFloat32
		}
		v := extra(b, head, i, j)
		if !open(b, i, j) {
			v += filter
		}
		return v
	}, nil
}

// biasOf reads a bias that broadcasts to the scores.
func (a *attention) biasOf(t *tensor.Tensor) (func(b, head, i, j int) float64, error) {
	if t == nil {
		return func(_, _, _, _ int) float64 { return 0 }, nil
	}
	full := []int{a.batch, a.heads, a.seq, a.total}
	if s, err := num.BroadcastShape(t.Shape, full); err != nil || len(t.Shape) > 4 || tensor.Count(s) != tensor.Count(full) {
		return nil, fmt.Errorf("attention_bias is %s, which does not broadcast to %v", t, full)
	}
	v, s := num.Floats(t), num.BroadcastStrides(t.Shape, full)
	return func(b, head, i, j int) float64 { return v[b*s[0]+head*s[1]+i*s[2]+j*s[3]] }, nil
}
