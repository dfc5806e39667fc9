package decoder

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/attn"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	op.Register(&op.Op{
		Domain: op.Salver, Name: "SequenceAttention", Versions: []int{1},
		Doc: "Attention within each of several sequences that lie one after the other: Q and Y are [tokens, heads·d], K and V [tokens, kv_heads·d]; sequences[s] is the first token of " +
			"a sequence and how many it has. Tokens of no sequence give zeros. With causal a query sees the keys up to its own, and of these the last window, or all with 0.",
		In: op.Ports("Q:float32", "K:float32", "V:float32", "sequences:int32"), Out: op.Ports("Y:float32"),
		Attrs: op.Attrs{"heads": op.Required(ir.KindInt), "kv_heads": op.Required(ir.KindInt), "scale": op.Required(ir.KindFloat),
			"softcap": op.Default(ir.Float(0)), "window": op.Default(ir.Int(0)), "causal": op.Default(ir.Int(0))},
		Infer: inferSequences, Ref: sequencesRef, Compile: compileSequences, Cases: sequenceCases{},
	})
}

func inferSequences(c *op.Infer) error {
	heads, kv, window := c.Node.Int("heads"), c.Node.Int("kv_heads"), c.Node.Int("window")
	if heads < 1 || kv < 1 || heads%kv != 0 {
		return fmt.Errorf("heads is %d and kv_heads %d, expected a multiple", heads, kv)
	}
	if window < 0 || window > 0 && !c.Node.Bool("causal") || c.Node.Float("softcap") < 0 {
		return fmt.Errorf("window is %d and softcap %v, expected none below 0, and a window only with causal", window, c.Node.Float("softcap"))
	}
	for i := range c.In {
		if r, known := c.In[i].Rank(); known && r != 2 {
			return fmt.Errorf("input %d has rank %d, expected 2", i, r)
		}
	}
	return op.SameAsInput(c)
}

// span is a sequence's tokens.
type span struct{ first, count int }

// sequences is a call.
type sequences struct {
	heads, kv, d    int
	scale, softcap  float32
	window          int
	causal          bool
	tokens          int
	q, k, v, y      []float32
	spans           []span
	task            attn.Task
	qSteps, kvSteps []int
}

func (s *sequences) read(c *op.Call) error {
	n, q, seqs := c.Node, c.In[0], c.In[3]
	s.heads, s.kv, s.scale, s.softcap, s.window, s.causal = n.Int("heads"), n.Int("kv_heads"), n.Float("scale"), n.Float("softcap"), n.Int("window"), n.Bool("causal")
	s.tokens, s.d = q.Shape[0], q.Shape[1]/s.heads
	for i, heads := range []int{s.heads, s.kv, s.kv} {
		if t := c.In[i]; t.Shape[0] != s.tokens || t.Shape[1] != heads*s.d {
			return fmt.Errorf("Q, K, V are %s, %s, %s, expected as many tokens each, and %d and %d heads of the same size", q, c.In[1], c.In[2], s.heads, s.kv)
		}
	}
	if seqs.Shape[1] != 2 {
		return fmt.Errorf("sequences are %s, expected [s,2]", seqs)
	}
	s.spans = s.spans[:0]
	at := tensor.Of[int32](seqs)
	end := 0
	for i := range seqs.Shape[0] {
		p := span{int(at[2*i]), int(at[2*i+1])}
		if p.count == 0 {
			continue
		}
		if p.first < end || p.count < 0 || p.first+p.count > s.tokens {
			return fmt.Errorf("sequence %d has tokens %d to %d, expected them in order, and no more than %d", i, p.first, p.first+p.count, s.tokens)
		}
		end = p.first + p.count
		s.spans = append(s.spans, p)
	}
	s.q, s.k, s.v = tensor.Of[float32](q), tensor.Of[float32](c.In[1]), tensor.Of[float32](c.In[2])
	s.y = tensor.Of[float32](c.Output(0, dtype.Float32, q.Shape...))
	return nil
}

// clearRest zeroes the rows of tokens that belong to no sequence.
func (s *sequences) clearRest() {
	width, at := s.heads*s.d, 0
	for _, p := range s.spans {
		clear(s.y[at*width : p.first*width])
		at = p.first + p.count
	}
	clear(s.y[at*width:])
}

// set makes the task that of a sequence.
func (s *sequences) set(p span) {
	t, q, kv := &s.task, s.heads*s.d, s.kv*s.d
	t.M, t.N = p.count, p.count
	t.Q.Data, t.O.Data = s.q[p.first*q:], s.y[p.first*q:]
	t.K.Data, t.V.Data = s.k[p.first*kv:], s.v[p.first*kv:]
}

// prepare states what all sequences have in common.
func (s *sequences) prepare() {
	group := s.heads / s.kv
	s.qSteps, s.kvSteps = []int{group * s.d, s.d}, []int{s.d, 0}
	t := &s.task
	t.Batch, t.D, t.DV, t.Scale, t.Softcap = []int{s.kv, group}, s.d, s.d, s.scale, s.softcap
	t.Q, t.O = attn.View{Stride: s.heads * s.d, Steps: s.qSteps}, attn.View{Stride: s.heads * s.d, Steps: s.qSteps}
	t.K, t.V = attn.View{Stride: s.kv * s.d, Steps: s.kvSteps}, attn.View{Stride: s.kv * s.d, Steps: s.kvSteps}
	if s.causal {
		t.Keys = attn.Keys{Limited: true, Left: s.window - 1, Right: 0}
	}
}

// sequenceKernel attends in the sequences one after the other.
type sequenceKernel struct {
	sequences
	scratch int
}

func compileSequences(p *op.Prep) (op.Kernel, error) {
	q := p.InShape(0)
	k := &sequenceKernel{}
	n := p.Node
	k.heads, k.kv, k.scale, k.softcap, k.window, k.causal = n.Int("heads"), n.Int("kv_heads"), n.Float("scale"), n.Float("softcap"), n.Int("window"), n.Bool("causal")
	k.d = q[1] / k.heads
	if q[0] == 0 || k.d == 0 {
		return nil, nil
	}
	k.prepare()
	k.task.M, k.task.N = q[0], q[0]
	k.scratch = k.task.ScratchSize(p.Threads)
	return k, nil
}

// ScratchBytes is the working memory of a run.
func (k *sequenceKernel) ScratchBytes() int { return 4 * k.scratch }

// Run attends.
func (k *sequenceKernel) Run(c *op.Call) error {
	t := &k.task
	defer func() {
		k.q, k.k, k.v, k.y = nil, nil, nil, nil
		t.Q.Data, t.K.Data, t.V.Data, t.O.Data, t.Scratch = nil, nil, nil, nil, nil
	}()
	if err := k.read(c); err != nil {
		return err
	}
	k.clearRest()
	t.Scratch = tensor.Of[float32](&tensor.Tensor{Data: c.Scratch})
	for _, p := range k.spans {
		k.set(p)
		if err := t.Run(c.Pool); err != nil {
			return err
		}
	}
	return nil
}

// sequencesRef attends in float64.
func sequencesRef(c *op.Call) error {
	var s sequences
	if err := s.read(c); err != nil {
		return err
	}
	s.clearRest()
	for _, p := range s.spans {
		for i := range p.count {
			for h := range s.heads {
				s.attend(p, i, h)
			}
		}
	}
	return nil
}

// attend computes query i of a sequence for one head.
func (s *sequences) attend(p span, i, head int) {
	first, last := 0, p.count-1
	if s.causal {
		last = i
		if s.window > 0 {
			first = max(0, i-s.window+1)
		}
	}
	q := s.q[((p.first+i)*s.heads+head)*s.d:][:s.d]
	row := func(v []float32, j int) []float32 {
		return v[((p.first+j)*s.kv+head/(s.heads/s.kv))*s.d:][:s.d]
	}
	scores, largest, total := make([]float64, p.count), math.Inf(-1), 0.
	for j := first; j <= last; j++ {
		for e, v := range row(s.k, j) {
			scores[j] += float64(v) * float64(q[e])
		}
		scores[j] *= float64(s.scale)
		if cap := float64(s.softcap); cap > 0 {
			scores[j] = cap * math.Tanh(scores[j]/cap)
		}
		largest = max(largest, scores[j])
	}
	out := make([]float64, s.d)
	for j := first; j <= last; j++ {
		w := math.Exp(scores[j] - largest)
		total += w
		for e, v := range row(s.v, j) {
			out[e] += w * float64(v)
		}
	}
	y := s.y[((p.first+i)*s.heads+head)*s.d:]
	for e, v := range out {
		y[e] = float32(v / total)
	}
}

type sequenceCases struct{}

func (sequenceCases) Cases() (cases []op.Case) {
	for _, c := range []struct {
		name         string
		heads, kv, d int
		tokens       int
		sequences    []int32
		attrs        map[string]*ir.Attr
	}{
		{"one", 3, 3, 8, 19, []int32{0, 19}, nil},
		{"several and a gap", 4, 2, 16, 90, []int32{0, 1, 1, 40, 0, 0, 45, 33}, nil},
		{"causal", 4, 1, 8, 40, []int32{0, 17, 17, 23}, map[string]*ir.Attr{"causal": ir.Int(1)}},
		{"window and soft cap", 2, 2, 24, 70, []int32{0, 60}, map[string]*ir.Attr{"causal": ir.Int(1), "window": ir.Int(9), "softcap": ir.Float(2)}},
		{"none", 2, 2, 8, 3, []int32{}, nil},
	} {
		attrs := map[string]*ir.Attr{"heads": ir.Int(c.heads), "kv_heads": ir.Int(c.kv), "scale": ir.Float(.4)}
		for k, v := range c.attrs {
			attrs[k] = v
		}
		cases = append(cases, op.Case{Name: c.name, Attrs: attrs, Tol: 1e-4,
			In: []*tensor.Tensor{wave(c.tokens, c.heads*c.d), wave(c.tokens, c.kv*c.d), wave(c.tokens, c.kv*c.d), tensor.FromSlice(c.sequences, len(c.sequences)/2, 2)}})
	}
	return cases
}
