package norm

import (
	"fmt"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Group is a prepared GroupNormalization of [batch, channels, inner…]; with as
// many groups as channels it is InstanceNormalization.
type Group struct {
	batch, channels, inner, groups, parts int
	eps                                   float32
	dst, src, gamma, beta                 []float32
}

// NewGroup prepares a shape of at least two dimensions.
func NewGroup(shape []int, groups int, eps float32) (*Group, error) {
	if len(shape) < 2 {
		return nil, fmt.Errorf("group norm: shape %v: want batch, channels and further dimensions", shape)
	}
	g := &Group{batch: shape[0], channels: shape[1], inner: 1, groups: groups, eps: eps}
	if groups < 1 || g.channels%groups != 0 {
		return nil, fmt.Errorf("group norm: %d channels do not make %d groups", g.channels, groups)
	}
	for _, d := range shape[2:] {
		g.inner *= d
	}
	g.parts = min(split.Parts(g.batch*g.channels*g.inner, grain), max(g.batch*groups, 1))
	return g, nil
}

// Run normalizes each group of each sample; gamma and beta are per channel, or nil for 1 and 0.
func (g *Group) Run(p *pool.Pool, dst, src, gamma, beta []float32) {
	if g.batch*g.channels*g.inner == 0 {
		return
	}
	g.dst, g.src, g.gamma, g.beta = dst, src, gamma, beta
	p.RunFromEnds(g.parts, g)
	g.dst, g.src, g.gamma, g.beta = nil, nil, nil, nil
}

// Do normalizes one chunk of groups; it is called by the pool.
func (g *Group) Do(part int) {
	k := current()
	per := g.channels / g.groups
	n := per * g.inner
	lo, hi := split.Range(g.batch*g.groups, g.parts, part)
	for u := lo; u < hi; u++ {
		mean, inv := moments(g.src[u*n:(u+1)*n], g.eps)
		for c := range per {
			channel := u%g.groups*per + c
			gamma, beta := at0(g.gamma, channel, 1), at0(g.beta, channel, 0)
			at, end := u*n+c*g.inner, u*n+(c+1)*g.inner
			for ; at < end; at += callMax {
				m := min(callMax, end-at)
				k.channel(g.dst[at:at+m], g.src[at:at+m], mean, inv, gamma, beta)
			}
		}
	}
}

// at0 is x[i], or what stands for an absent x.
func at0(x []float32, i int, absent float32) float32 {
	if x == nil {
		return absent
	}
	return x[i]
}
