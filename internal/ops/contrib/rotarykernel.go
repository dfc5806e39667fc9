package contrib

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// rotaryKernel rotates heads in float32; the pool shares out tokens.
type rotaryKernel struct {
	turns             turner
	dims              []int
	batch, heads, seq int
	size              int
	token, head, item int // strides
	x, y              []float32
	ids               []int64
}

func compileRotary(p *op.Prep) (op.Kernel, error) {
	s, cache := p.InShape(0), p.InShape(2)
	if p.In[0].DType != dtype.Float32 || len(cache) != 2 || !equal(cache, p.InShape(3)) || cache[1] == 0 || tensor.Count(s) == 0 {
		return nil, nil
	}
	n := p.Node
	k := &rotaryKernel{dims: s, batch: s[0], turns: turner{half: cache[1], interleaved: n.Bool("interleaved")}}
	if len(s) == 4 {
		k.heads, k.seq, k.size = s[1], s[2], s[3]
		k.token, k.head = k.size, k.seq*k.size
	} else {
		if k.heads = n.Int("num_heads"); k.heads == 0 {
			k.heads = s[2] / (2 * cache[1])
		}
		if k.heads < 1 || s[2]%k.heads != 0 {
			return nil, nil
		}
		k.seq, k.size = s[1], s[2]/k.heads
		k.token, k.head = s[2], k.size
	}
	k.item = k.heads * k.seq * k.size
	ids := tensor.Count(p.InShape(1))
	if d := n.Int("rotary_embedding_dim"); 2*k.turns.half > k.size || d > 0 && d != 2*k.turns.half || ids != 1 && ids != k.batch*k.seq {
		return nil, nil
	}
	return k, nil
}

func (k *rotaryKernel) position(at int) int {
	if len(k.ids) > 1 {
		return int(k.ids[at])
	}
	return int(k.ids[0]) + at%k.seq
}

// Run rotates.
func (k *rotaryKernel) Run(c *op.Call) error {
	k.ids = tensor.Of[int64](c.In[1])
	k.turns.cos, k.turns.sin = tensor.Of[float32](c.In[2]), tensor.Of[float32](c.In[3])
	rows := len(k.turns.cos) / k.turns.half
	for at := range k.batch * k.seq {
		if p := k.position(at); p < 0 || p >= rows {
			return fmt.Errorf("position %d is outside the caches' %d rows", p, rows)
		}
	}
	k.x, k.y = tensor.Of[float32](c.In[0]), tensor.Of[float32](c.Output(0, dtype.Float32, k.dims...))
	c.Pool.Run(k.batch*k.seq, k)
	k.x, k.y, k.ids, k.turns.cos, k.turns.sin = nil, nil, nil, nil, nil
	return nil
}

// Do rotates one token's heads; it is called by the pool.
func (k *rotaryKernel) Do(at int) {
	from := at/k.seq*k.item + at%k.seq*k.token
	for h := range k.heads {
		to := k.y[from+h*k.head:][:k.size]
		copy(to, k.x[from+h*k.head:])
		k.turns.turn(to, k.position(at))
	}
}
