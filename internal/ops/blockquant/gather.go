package blockquant

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

// Inputs of BlockGather.
const (
	gIndices = iota
	gW
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "BlockGather", Versions: []int{1},
		Doc:   "rows of w, chosen by indices, as float32: an embedding. w has N rows in a block-quantized format, k numbers each; a negative index counts from the end.",
		In:    op.Ports("indices:Tind", "w:uint8"),
		Out:   op.Ports("y:float32"),
		Types: op.Types{"Tind": op.Indices},
		Attrs: op.Attrs{"format": op.Required(ir.KindString), "k": op.Required(ir.KindInt)},
		Infer: inferGather, Ref: gatherRef, Compile: compileGather,
		Rows:  func(_ *ir.Node, in []int) ([]int, bool) { return in[:1], in[gW] == op.NoRows },
		Cases: gatherCases{},
	})
}

func inferGather(c *op.Infer) error {
	s, err := weightsOf(c.Node, c.In[gW].Shape)
	if err != nil {
		return err
	}
	var y shape.Shape
	if i := c.In[gIndices].Shape; i != nil {
		y = shape.Join(i, shape.Of(s.k))
	}
	c.Set(0, dtype.Float32, y)
	return nil
}

func gatherRef(c *op.Call) error {
	w := c.In[gW]
	s, err := weightsOf(c.Node, shape.Of(w.Shape...))
	if err != nil {
		return err
	}
	g := &gather{weights: s, dims: append(slices.Clone(c.In[gIndices].Shape), s.k)}
	return g.Run(c)
}

// gather decodes rows on the pool's threads.
type gather struct {
	weights
	dims    []int
	parts   int
	y       []float32
	w       []byte
	indices *tensor.Tensor
}

// compileGather reads w where it is: of a large table few rows are wanted.
func compileGather(p *op.Prep) (op.Kernel, error) {
	s, err := weightsOf(p.Node, p.In[gW].Shape)
	if err != nil {
		return nil, err
	}
	return &gather{weights: s, dims: p.OutShape(0)}, nil
}

// Run decodes the rows.
func (k *gather) Run(c *op.Call) error {
	k.indices, k.w = c.In[gIndices], c.In[gW].Data
	for i := range k.indices.Len() {
		if v := k.index(i); v < -int64(k.n) || v >= int64(k.n) {
			return fmt.Errorf("index %d is outside [%d, %d), the rows of w", v, -k.n, k.n)
		}
	}
	k.y = tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	const work = 1 << 14 // elements that are worth a chunk
	k.parts = split.Parts(len(k.y), work)
	c.Pool.Run(k.parts, k)
	k.indices, k.w, k.y = nil, nil, nil
	return nil
}

func (k *gather) index(i int) int64 {
	if k.indices.DType == dtype.Int32 {
		return int64(tensor.Of[int32](k.indices)[i])
	}
	return tensor.Of[int64](k.indices)[i]
}

// Do decodes part i of the rows.
func (k *gather) Do(i int) {
	from, to := split.Range(k.indices.Len(), k.parts, i)
	for ; from < to; from++ {
		row := int(k.index(from))
		if row < 0 {
			row += k.n
		}
		block.Decode(k.format, k.y[from*k.k:(from+1)*k.k], k.w[row*k.row:(row+1)*k.row])
	}
}
