// Package decoder has the operators of language models beyond ONNX's: attention
// over a paged cache, and rotary position embeddings.
package decoder

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/paged"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "PagedAttention", Versions: []int{1},
		Doc: "Causal attention of the tokens of one step, of any number of sequences. Writes their keys and values to the caches, which it is given as inputs, first. " +
			"Shapes: Q and Y [tokens, heads·d], K and V [tokens, kv_heads·d], k_cache [blocks, kv_heads, d, 4], v_cache [blocks, kv_heads, 4, d]. " +
			"slots[token] is where it goes in the caches (block·4 + place; negative: nowhere), positions[token] its place in its sequence; sequences[s] is its first token in the step " +
			"and how many it has, and tables[s] its blocks in order. Tokens of no sequence give zeros. A query sees window keys, or all before it with 0. " +
			"Generated is how many tokens of the step, the first ones, were generated: the others are those of prompts, which have an arithmetic of their own on AMX.",
		In:  op.Ports("Q:float32", "K:float32", "V:float32", "k_cache:C", "v_cache:C", "slots:int32", "positions:int32", "sequences:int32", "tables:int32", "generated:int32?"),
		Out: op.Ports("Y:float32"), Types: op.Types{"C": {dtype.Float32, dtype.Float16}},
		Attrs: op.Attrs{"heads": op.Required(ir.KindInt), "kv_heads": op.Required(ir.KindInt), "scale": op.Required(ir.KindFloat),
			"softcap": op.Default(ir.Float(0)), "window": op.Default(ir.Int(0))},
		Infer: inferPaged, Ref: pagedRef, Compile: compilePaged, Cases: pagedCases{},
	})
}

func inferPaged(c *op.Infer) error {
	heads, kv := c.Node.Int("heads"), c.Node.Int("kv_heads")
	if heads < 1 || kv < 1 || heads%kv != 0 {
		return fmt.Errorf("heads is %d and kv_heads %d, expected a multiple", heads, kv)
	}
	if c.Node.Int("window") < 0 || c.Node.Float("softcap") < 0 {
		return fmt.Errorf("window is %d and softcap %v, expected none below 0", c.Node.Int("window"), c.Node.Float("softcap"))
	}
	for i, rank := range []int{2, 2, 2, 4, 4, 1, 1, 2, 2, 1} {
		if r, known := c.Input(i).Rank(); known && r != rank {
			return fmt.Errorf("input %d has rank %d, expected %d", i, r, rank)
		}
	}
	if k := c.In[3].Shape; k != nil && (differs(k[1], kv) || differs(k[3], paged.BlockTokens)) {
		return fmt.Errorf("k_cache has shape %v, expected [blocks,%d,d,%d]", k, kv, paged.BlockTokens)
	}
	return op.SameAsInput(c)
}

// differs reports whether a dimension is known not to be n.
func differs(d shape.Dim, n int) bool {
	m, known := d.Int()
	return known && m != n
}

// problem reads a call.
func problem(c *op.Call, p *paged.Problem) error {
	n := c.Node
	q, kc := c.In[0], c.In[3]
	p.Heads, p.KVHeads, p.D = n.Int("heads"), n.Int("kv_heads"), kc.Shape[2]
	p.Scale, p.Softcap, p.Window = n.Float("scale"), n.Float("softcap"), n.Int("window")
	p.Tokens = q.Shape[0]
	if q.Shape[1] != p.Heads*p.D || c.In[1].Shape[1] != p.KVHeads*p.D || c.In[2].Shape[1] != p.KVHeads*p.D {
		return fmt.Errorf("Q, K, V are %s, %s, %s, expected %d and %d heads of %d", q, c.In[1], c.In[2], p.Heads, p.KVHeads, p.D)
	}
	p.Q, p.NewK, p.NewV = tensor.Of[float32](q), tensor.Of[float32](c.In[1]), tensor.Of[float32](c.In[2])
	p.O = tensor.Of[float32](c.Output(0, dtype.Float32, q.Shape...))
	p.K, p.V = paged.Cache{DType: kc.DType, Data: kc.Data}, paged.Cache{DType: c.In[4].DType, Data: c.In[4].Data}
	p.Slots = tensor.Of[int32](c.In[5])
	positions, rows, tables := tensor.Of[int32](c.In[6]), c.In[7], c.In[8]
	if rows.Shape[1] != 2 || rows.Shape[0] != tables.Shape[0] {
		return fmt.Errorf("sequences are %s and tables %s, expected [s,2] and [s,blocks]", rows, tables)
	}
	width, blocks, generated := tables.Shape[1], tensor.Of[int32](tables), p.Tokens
	if g := c.Input(9); g != nil {
		if g.Len() != 1 {
			return fmt.Errorf("generated is %s, expected one number", g)
		}
		if generated = int(tensor.Of[int32](g)[0]); generated < 0 || generated > p.Tokens {
			return fmt.Errorf("generated is %d, expected up to as many as there are tokens, %d", generated, p.Tokens)
		}
	}
	p.Sequences = p.Sequences[:0]
	for s := range rows.Shape[0] {
		row, count := int(tensor.Of[int32](rows)[2*s]), int(tensor.Of[int32](rows)[2*s+1])
		if count == 0 {
			continue
		}
		if row < 0 || count < 0 || row+count > len(positions) {
			return fmt.Errorf("sequence %d has tokens %d to %d of %d", s, row, row+count, len(positions))
		}
		p.Sequences = append(p.Sequences, paged.Sequence{Row: row, Count: count, First: int(positions[row]), Blocks: blocks[s*width : (s+1)*width], Prompt: row >= generated})
	}
	return nil
}

func compilePaged(*op.Prep) (op.Kernel, error) {
	t := &paged.Task{}
	return op.KernelFunc(func(c *op.Call) error {
		defer func() { t.Q, t.NewK, t.NewV, t.O, t.K.Data, t.V.Data = nil, nil, nil, nil, nil, nil }()
		if err := problem(c, &t.Problem); err != nil {
			return err
		}
		return t.Run(c.Pool)
	}), nil
}

// pagedRef stores like the kernel and attends in float64.
func pagedRef(c *op.Call) error {
	var t paged.Task
	if err := problem(c, &t.Problem); err != nil {
		return err
	}
	if err := t.Run(nil); err != nil { // stores
		return err
	}
	clear(t.O)
	for i := range t.Sequences {
		s := &t.Sequences[i]
		for q := range s.Count {
			for h := range t.Heads {
				attend(&t.Problem, s, q, h)
			}
		}
	}
	return nil
}

// attend computes query q of a sequence for one head.
func attend(p *paged.Problem, s *paged.Sequence, q, head int) {
	kv := head / (p.Heads / p.KVHeads)
	at := ((s.Row+q)*p.Heads + head) * p.D
	position := s.First + q
	first := 0
	if p.Window > 0 {
		first = max(0, position-p.Window+1)
	}
	weights, total, largest := make([]float64, position+1), 0., math.Inf(-1)
	for j := first; j <= position; j++ {
		for e := range p.D {
			weights[j] += float64(p.Q[at+e]) * key(p, s, kv, j, e)
		}
		weights[j] *= float64(p.Scale)
		if c := float64(p.Softcap); c > 0 {
			weights[j] = c * math.Tanh(weights[j]/c)
		}
		largest = max(largest, weights[j])
	}
	o := make([]float64, p.D)
	for j := first; j <= position; j++ {
		w := math.Exp(weights[j] - largest)
		total += w
		for e := range o {
			o[e] += w * value(p, s, kv, j, e)
		}
	}
	for e := range o {
		p.O[at+e] = float32(o[e] / total)
	}
}

// key and value are element e of the sequence's key or value number j.
func key(p *paged.Problem, s *paged.Sequence, head, j, e int) float64 {
	return p.K.Number(block(p, s, head, j) + e*paged.BlockTokens + j%paged.BlockTokens)
}

func value(p *paged.Problem, s *paged.Sequence, head, j, e int) float64 {
	return p.V.Number(block(p, s, head, j) + j%paged.BlockTokens*p.D + e)
}

func block(p *paged.Problem, s *paged.Sequence, head, j int) int {
	return (int(s.Blocks[j/paged.BlockTokens])*p.KVHeads + head) * paged.BlockTokens * p.D
}

type pagedCases struct{}

func (pagedCases) Cases() []op.Case {
	type layout struct {
		name               string
		heads, kv, d       int
		sequences, first   []int32 // pairs of row and count; the first position of each
		dt                 dtype.Type
		window             int
		softcap            float32
		tokens, tableWidth int
		generated          []int32 // nil: not said
	}
	var cases []op.Case
	for _, l := range []layout{
		{name: "prompt", heads: 4, kv: 2, d: 8, sequences: []int32{0, 37}, first: []int32{0}, dt: dtype.Float32, tokens: 37, tableWidth: 10},
		{name: "decode and prompt", heads: 4, kv: 1, d: 16, sequences: []int32{0, 1, 1, 1, 0, 0, 2, 9}, first: []int32{0, 140, 0, 20}, dt: dtype.Float32, tokens: 13, tableWidth: 36},
		{name: "half cache", heads: 2, kv: 2, d: 24, sequences: []int32{0, 20, 20, 1}, first: []int32{3, 17}, dt: dtype.Float16, tokens: 21, tableWidth: 6},
		{name: "window and soft cap", heads: 2, kv: 1, d: 8, sequences: []int32{0, 30}, first: []int32{10}, dt: dtype.Float32, window: 12, softcap: 3, tokens: 30, tableWidth: 10},
		{name: "roles", heads: 4, kv: 2, d: 32, sequences: []int32{0, 1, 1, 40, 41, 3}, first: []int32{20, 0, 130}, dt: dtype.Float16, tokens: 44, tableWidth: 36, generated: []int32{1}},
	} {
		count := len(l.first)
		blocks := count*l.tableWidth + 1
		tables, slots, positions := make([]int32, count*l.tableWidth), make([]int32, l.tokens), make([]int32, l.tokens)
		for i := range tables {
			tables[i] = int32((i*7 + 3) % blocks)
		}
		for i := range slots {
			slots[i] = -1
		}
		for s := range count {
			for i := range l.sequences[2*s+1] {
				row, at := l.sequences[2*s]+i, l.first[s]+i
				positions[row] = at
				slots[row] = tables[s*l.tableWidth+int(at)/paged.BlockTokens]*paged.BlockTokens + at%paged.BlockTokens
			}
		}
		x := op.Case{
			Name:  l.name,
			Attrs: map[string]*ir.Attr{"heads": ir.Int(l.heads), "kv_heads": ir.Int(l.kv), "scale": ir.Float(.4), "window": ir.Int(l.window), "softcap": ir.Float(l.softcap)},
			In: []*tensor.Tensor{wave(l.tokens, l.heads*l.d), wave(l.tokens, l.kv*l.d), wave(l.tokens, l.kv*l.d),
				cast(wave(blocks, l.kv, l.d, paged.BlockTokens), l.dt), cast(wave(blocks, l.kv, paged.BlockTokens, l.d), l.dt),
				tensor.FromSlice(slots, l.tokens), tensor.FromSlice(positions, l.tokens), tensor.FromSlice(l.sequences, count, 2), tensor.FromSlice(tables, count, l.tableWidth)},
			Out: []*tensor.Tensor{nil}, Tol: 1e-4,
		}
		if l.generated != nil {
			x.In, x.Tol = append(x.In, tensor.FromSlice(l.generated, 1)), 3e-2
		}
		cases = append(cases, x)
	}
	return cases
}

func cast(t *tensor.Tensor, dt dtype.Type) *tensor.Tensor {
	out := tensor.New(dt, t.Shape...)
	num.SetFloats(out, num.Floats(t))
	return out
}

// wave is some numbers that differ.
func wave(dims ...int) *tensor.Tensor {
	v := make([]float32, tensor.Count(dims))
	for i := range v {
		v[i] = float32(math.Sin(float64(i)*.7 + float64(len(v))))
	}
	return tensor.FromSlice(v, dims...)
}
