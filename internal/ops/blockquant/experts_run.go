package blockquant

import (
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/elemwise"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// experts computes Experts with the tokens grouped by expert, so that the
// weights of each are read once. A token's result is the same sum in the same
// order, whatever its group.
type experts struct {
	*mixture
	tokens         int
	gateW, upW     product
	downW          product
	chosen         []choice // used of each token
	first          []int    // where each expert's group begins in tokenOf; one more for the end
	tokenOf        []int32
	weightOf       []float32
	x, y           []float32
	in, g, u, out  []float32 // rows of a group
	group          []int32
	weights        []float32
	stage          func(lo, hi int)
	rows, parts    int // of the stage
	gatherRows     func(lo, hi int)
	activateRows   func(lo, hi int)
	addRows        func(lo, hi int)
	silu           elemwise.Func
	mul            func(dst, a, b []float32, sa, sb int)
	productScratch int
}

func compileExperts(p *op.Prep) (op.Kernel, error) {
	for _, f := range p.In[exWeights:] {
		if f.Const == nil {
			return nil, nil
		}
	}
	m, err := mixtureOf(p.Node, shapesOf(p.In))
	if err != nil {
		return nil, err
	}
	tokens := p.OutShape(0)[0]
	if tokens == 0 {
		for i := range p.In[exWeights:] {
			p.OnlyPacked(exWeights + i)
		}
		return nothing(p.OutShape(0)), nil
	}
	k := &experts{mixture: m, tokens: tokens, chosen: make([]choice, tokens*m.used), first: make([]int, m.experts+1), tokenOf: make([]int32, tokens*m.used),
		weightOf: make([]float32, tokens*m.used), silu: elemwise.Float32(elemwise.Silu), mul: elemwise.Row(elemwise.Mul)}
	k.gatherRows, k.activateRows, k.addRows = k.gather, k.activate, k.add
	for i, w := range []struct {
		product *product
		weights weights
	}{{&k.gateW, m.gate}, {&k.upW, m.up}, {&k.downW, m.down}} {
		if *w.product, err = newProduct(p, w.weights, exWeights+i*m.experts, m.experts, tokens); err != nil {
			return nil, err
		}
		k.productScratch = max(k.productScratch, (*w.product).scratchBytes())
	}
	return k, nil
}

// Precision is bf16 if one of the products is rounded.
func (k *experts) Precision() op.Precision {
	for _, w := range []product{k.gateW, k.upW, k.downW} {
		if _, ok := w.(*roundedProduct); ok {
			return op.BF16
		}
	}
	return op.FP32
}

// floats are those of the rows of the largest group.
func (k *experts) floats() int { return k.tokens * (k.gate.k + 2*k.gate.n + k.down.n) }

// ScratchBytes is the working memory of a run.
func (k *experts) ScratchBytes() int { return align(4*k.floats()) + k.productScratch }

// Run computes all experts, one after the other.
func (k *experts) Run(c *op.Call) error {
	k.x, k.y = tensor.Of[float32](c.In[exX]), tensor.Of[float32](c.Output(0, dtype.Float32, k.tokens, k.down.n))
	defer func() { k.x, k.y, k.in, k.g, k.u, k.out = nil, nil, nil, nil, nil, nil }()
	rows := tensor.Of[float32](&tensor.Tensor{Data: c.Scratch[:4*k.floats()]})
	k.in, rows = rows[:k.tokens*k.gate.k], rows[k.tokens*k.gate.k:]
	k.g, rows = rows[:k.tokens*k.gate.n], rows[k.tokens*k.gate.n:]
	k.u, k.out = rows[:k.tokens*k.gate.n], rows[k.tokens*k.gate.n:]
	scratch := c.Scratch[align(4*k.floats()):]
	k.route(tensor.Of[float32](c.In[exRouter]))
	clear(k.y)
	for e := range k.experts {
		from, to := k.first[e], k.first[e+1]
		m := to - from
		if m == 0 {
			continue
		}
		k.group, k.weights = k.tokenOf[from:to], k.weightOf[from:to]
		k.each(c, m, k.gatherRows)
		if err := k.gateW.run(c.Pool, scratch, e, m, k.in, k.g); err != nil {
			return err
		}
		if err := k.upW.run(c.Pool, scratch, e, m, k.in, k.u); err != nil {
			return err
		}
		k.each(c, m, k.activateRows)
		if err := k.downW.run(c.Pool, scratch, e, m, k.g, k.out); err != nil {
			return err
		}
		k.each(c, m, k.addRows)
	}
	return nil
}

// route chooses each token's experts, and sorts the tokens by expert.
func (k *experts) route(router []float32) {
	clear(k.first)
	for t := range k.tokens {
		list := k.chosen[t*k.used:][:k.used]
		k.choose(list, router[t*k.experts:][:k.experts])
		for _, c := range list {
			k.first[c.expert+1]++
		}
	}
	for e := range k.experts {
		k.first[e+1] += k.first[e]
	}
	for i, c := range k.chosen { // first[e] moves to where its group ends
		at := k.first[c.expert]
		k.tokenOf[at], k.weightOf[at] = int32(i/k.used), c.weight
		k.first[c.expert]++
	}
	copy(k.first[1:], k.first)
	k.first[0] = 0
}

// rowsOfAChunk is how many numbers are worth a chunk, in rows.
func rowsOfAChunk(width int) int { return max(1, (8<<10)/width) }

// each runs a stage over the rows of a group.
func (k *experts) each(c *op.Call, rows int, stage func(lo, hi int)) {
	k.stage, k.rows, k.parts = stage, rows, split.Parts(rows, rowsOfAChunk(k.gate.k))
	c.Pool.Run(k.parts, k)
}

// Do runs part i of a stage.
func (k *experts) Do(i int) {
	lo, hi := split.Range(k.rows, k.parts, i)
	k.stage(lo, hi)
}

func (k *experts) gather(lo, hi int) {
	n := k.gate.k
	for i := lo; i < hi; i++ {
		copy(k.in[i*n:(i+1)*n], k.x[int(k.group[i])*n:])
	}
}

func (k *experts) activate(lo, hi int) {
	g, u := k.g[lo*k.gate.n:hi*k.gate.n], k.u[lo*k.gate.n:hi*k.gate.n]
	k.silu(g, g, elemwise.Params{A: 1})
	k.mul(g, g, u, 1, 1)
}

func (k *experts) add(lo, hi int) {
	n := k.down.n
	for i := lo; i < hi; i++ {
		w, y := k.weights[i], k.y[int(k.group[i])*n:][:n]
		for j, v := range k.out[i*n:][:n] {
			y[j] += float32(w * v)
		}
	}
}
