package tensorops

import (
	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/kernels/transpose"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// move is a prepared copy between two strided layouts of the same elements.
type move struct {
	copy     *transpose.Copy
	to, from int // of the first element, in elements
}

// newMove prepares dst[toBase + Σ i·to] = src[fromBase + Σ i·from] over all
// index tuples below dims, for elements of size bytes.
func newMove(size int, dims, from []int, fromBase int, to []int, toBase int) (move, error) {
	c, err := transpose.NewCopy(size, dims, to, from)
	return move{c, toBase, fromBase}, err
}

// Run copies from src to dst.
func (m move) Run(p *pool.Pool, dst, src []byte) { m.copy.Run(p, dst, src, m.to, m.from) }

// moveKernel makes output 0 by one strided copy of input 0.
type moveKernel struct {
	move
	dt   dtype.Type
	dims []int
}

func (k *moveKernel) Run(c *op.Call) error {
	k.move.Run(c.Pool, c.Output(0, k.dt, k.dims...).Data, c.In[0].Data)
	return nil
}

// newMoveKernel prepares out[i] = in[base + Σ i·strides].
func newMoveKernel(dt dtype.Type, dims, strides []int, base int) (op.Kernel, error) {
	m, err := newMove(dt.Bits()/8, dims, strides, base, tensor.Strides(dims), 0)
	if err != nil {
		return nil, err
	}
	return &moveKernel{m, dt, dims}, nil
}

// byteSize is the size of an element that moves as whole bytes; ok is false for
// strings, sequences and packed types, which the references serve.
func byteSize(dt dtype.Type) (size int, ok bool) {
	return dt.Bits() / 8, dt.Bits() >= 8
}
