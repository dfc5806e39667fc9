package blockquant

import (
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/blockq"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
)

// A product multiplies rows by matrices of one format and size, one at a time.
type product interface {
	// scratchBytes is the working memory of a run with the most rows.
	scratchBytes() int
	// run computes y = x·wᵀ for m rows and matrix number i.
	run(p *pool.Pool, scratch []byte, i, m int, x, y []float32) error
}

// fewRows may take more memory than many, since they take other ways.
const fewRows = 16

// newProduct prepares products of up to m rows by inputs first to first+count-1
// of a node, which are constants.
func newProduct(p *op.Prep, s weights, first, count, m int) (product, error) {
	if rounds(p, s.format) {
		return newRoundedProduct(p, s, first, count, m)
	}
	if s.format == block.F32 {
		return newFloatProduct(p, s, first, count, m)
	}
	if !blockq.Supports(s.format) {
		k := &decodedProduct{decoded: newDecoded(s, m, p.Threads)}
		for i := range count {
			k.matrices = append(k.matrices, p.In[first+i].Const.Data)
		}
		return k, nil
	}
	packed, err := pack(p, s, first, count)
	if err != nil {
		return nil, err
	}
	k := &packedProduct{weights: packed}
	t := &k.task
	t.Packed, t.N, t.K, t.StrideX, t.StrideY = packed.packed[0], s.n, s.k, s.k, s.n
	t.M = m
	k.scratch = scratchUpTo(t, p.Threads)
	return k, nil
}

// packedProduct runs on the kernels of blockq.
type packedProduct struct {
	task    blockq.Task
	weights *matrices
	scratch int
}

func (k *packedProduct) scratchBytes() int { return k.scratch }

func (k *packedProduct) run(p *pool.Pool, scratch []byte, i, m int, x, y []float32) error {
	t := &k.task
	t.Packed, t.M, t.Scratch, t.X, t.Y = k.weights.packed[i], m, scratch, x, y
	k.weights.prepare(t, p)
	err := t.Run(p)
	t.Scratch, t.X, t.Y = nil, nil, nil
	return err
}

// decodedProduct decodes rows of the matrices.
type decodedProduct struct {
	*decoded
	matrices [][]byte
}

func (k *decodedProduct) scratchBytes() int { return k.ScratchBytes() }

func (k *decodedProduct) run(p *pool.Pool, scratch []byte, i, m int, x, y []float32) error {
	k.m, k.w, k.x, k.y = m, k.matrices[i], x, y
	k.multiply(p, scratch)
	return nil
}
