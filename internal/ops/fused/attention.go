package fused

import (
	"fmt"
	"math"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/kernels/attn"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/ops/wide"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	layout := op.Default(ir.Str("b h s d"))
	op.Register(&op.Op{
		Domain: op.Salver, Name: "FusedAttention", Versions: []int{1},
		Doc: "softmax(scale·Q·Kᵀ + mask)·V, read from and written to tensors of any layout: an attribute for each names its dimensions, made of " +
			"b (batch), h (heads of keys), g (heads of queries for each), s (sequence), d (elements of a head) and i/n (item i of n). The mask broadcasts to " +
			"[b, h·g, queries, keys]; with mask_repeats, its first of four dimensions divides b, and item i has mask i mod it. With softcap c > 0, scores become " +
			"c·tanh(score/c) before the mask is added. With fill, lower scores are raised to it. A query that sees no key gives NaN, or zeros with zero_masked. " +
			"Y has the type of Q, K and V, or is of float32 where float32 is 1.",
		In: op.Ports("Q:Q", "K:Q", "V:Q", "mask:T?"), Out: op.Ports("Y:T"), Types: op.Types{"T": op.Floats, "Q": op.Floats},
		Attrs: op.Attrs{"q_layout": layout, "k_layout": layout, "v_layout": layout, "y_layout": layout,
			"heads": op.Default(ir.Int(1)), "groups": op.Default(ir.Int(1)), "scale": op.Default(ir.Float(1)), "fill": op.Opt(ir.KindFloat), "zero_masked": op.Default(ir.Int(0)),
			"softcap": op.Opt(ir.KindFloat), "mask_repeats": op.Opt(ir.KindInt), "float32": op.Opt(ir.KindInt)},
		Infer: inferAttention, Ref: attentionRef, Compile: compileAnyAttention, Rows: rowsAttention,
		Cases: attentionCases{},
	})
}

type attentionCases struct{}

func (attentionCases) Cases() []op.Case {
	inf := float32(math.Inf(-1))
	layouts := func(heads, groups int, q, k, v, y string) map[string]*ir.Attr {
		return map[string]*ir.Attr{"heads": ir.Int(heads), "groups": ir.Int(groups), "q_layout": ir.Str(q), "k_layout": ir.Str(k), "v_layout": ir.Str(v), "y_layout": ir.Str(y),
			"scale": ir.Float(.5)}
	}
	packed := wave(2, 5, 3*2*8)
	const flat = "b s (h d)"
	stored := layouts(2, 1, "b s (0/3 h d)", "b s (1/3 h d)", "b s (2/3 h d)", flat)
	stored["float32"] = ir.Int(1)
	filled := layouts(2, 1, flat, flat, flat, flat)
	filled["fill"] = ir.Float(-1e4)
	repeats := layouts(2, 1, flat, flat, flat, flat)
	repeats["mask_repeats"] = ir.Int(1)
	capped := layouts(2, 1, flat, flat, flat, flat)
	capped["softcap"] = ir.Float(1.5)
	zeros := map[string]*ir.Attr{"heads": ir.Int(1), "zero_masked": ir.Int(1)}
	hidden := tensor.FromSlice([]float32{0, inf, 0, inf, inf, inf}, 1, 1, 2, 3)
	return []op.Case{
		{Name: "values", In: []*tensor.Tensor{tensor.FromSlice([]float32{1, 0}, 1, 1, 2, 1), tensor.FromSlice([]float32{0, float32(math.Log(3))}, 1, 1, 2, 1), tensor.FromSlice([]float32{4, 8}, 1, 1, 2, 1)},
			Out: []*tensor.Tensor{tensor.FromSlice([]float32{7, 6}, 1, 1, 2, 1)}},
		{Name: "joint product", In: []*tensor.Tensor{packed, packed, packed}, Attrs: layouts(2, 1, "b s (0/3 h d)", "b s (1/3 h d)", "b s (2/3 h d)", flat)},
		{Name: "stored in bfloat16", In: []*tensor.Tensor{narrowed(packed), narrowed(packed), narrowed(packed)}, Attrs: stored, Tol: 1e-2},
		{Name: "sequence first", In: []*tensor.Tensor{wave(5, 3, 16), wave(7, 3, 16), wave(7, 3, 6)}, Attrs: layouts(2, 1, "s b (h d)", "s b (h d)", "s b (h d)", "s b h d")},
		{Name: "mask of keys", In: []*tensor.Tensor{wave(2, 5, 16), wave(2, 7, 16), wave(2, 7, 16), wave(2, 1, 1, 7)}, Attrs: layouts(2, 1, flat, flat, flat, flat)},
		{Name: "mask of heads", In: []*tensor.Tensor{wave(2, 5, 16), wave(2, 7, 16), wave(2, 7, 16), wave(2, 5, 7)}, Attrs: layouts(2, 1, flat, flat, flat, flat)},
		{Name: "mask that repeats", In: []*tensor.Tensor{wave(6, 5, 16), wave(6, 7, 16), wave(6, 7, 16), wave(3, 1, 5, 7)}, Attrs: repeats},
		{Name: "softcap", In: []*tensor.Tensor{wave(2, 5, 16), wave(2, 7, 16), wave(2, 7, 16), wave(2, 1, 1, 7)}, Attrs: capped},
		{Name: "fill", In: []*tensor.Tensor{wave(1, 2, 8), wave(1, 3, 8), wave(1, 3, 8), hidden}, Attrs: filled},
		{Name: "masked row", In: []*tensor.Tensor{wave(1, 1, 2, 8), wave(1, 1, 3, 8), wave(1, 1, 3, 8), hidden}, Attrs: zeros},
		{Name: "grouped queries", In: []*tensor.Tensor{wave(2, 5, 6*8), wave(2, 2, 7, 8), wave(2, 2, 7, 8), wave(6, 5, 7)}, Attrs: layouts(2, 3, "b s (h g d)", "b h s d", "b h s d", "b h g s d")},
		{Name: "transposed keys", In: []*tensor.Tensor{wave(2, 2, 5, 8), wave(2, 2, 8, 7), wave(2, 2, 7, 8)}, Attrs: layouts(2, 1, "b h s d", "b h d s", "b h s d", "(b h) s d")},
		{Name: "one head", In: []*tensor.Tensor{wave(5, 8), wave(7, 8), wave(7, 3)}, Attrs: layouts(1, 1, "s d", "s d", "s d", "s d")},
	}
}

// attention is a node's problem for known or symbolic sizes.
type attention struct {
	layouts    [4]headLayout // of Q, K, V and Y
	sizes      [3]axes       // of Q, K and V
	y          axes
	scale      float64
	fill       float64
	hasFill    bool
	zeroMasked bool
	softcap    float64
	repeats    bool // of the mask, along the batch
}

var layoutNames = [4]string{"q_layout", "k_layout", "v_layout", "y_layout"}

func layoutsOf(n *ir.Node) (l [4]headLayout, err error) {
	for i, name := range layoutNames {
		if l[i], err = parseLayout(n.Str(name)); err != nil {
			return l, fmt.Errorf("%s: %w", name, err)
		}
	}
	return l, nil
}

func newAttention(n *ir.Node, in []shape.Shape) (*attention, error) {
	a := &attention{scale: float64(n.Float("scale")), fill: float64(n.Float("fill")), hasFill: n.Has("fill"), zeroMasked: n.Bool("zero_masked"),
		softcap: float64(n.Float("softcap")), repeats: n.Bool("mask_repeats")}
	if !(a.softcap >= 0) {
		return nil, fmt.Errorf("softcap is %g, expected at least 0", a.softcap)
	}
	heads, groups := n.Int("heads"), n.Int("groups")
	if heads < 1 || groups < 1 {
		return nil, fmt.Errorf("heads is %d and groups %d, expected at least 1", heads, groups)
	}
	known := axes{'h': shape.Const(heads), 'g': shape.Const(groups)}
	var err error
	if a.layouts, err = layoutsOf(n); err != nil {
		return nil, err
	}
	for i := range a.sizes {
		if a.sizes[i], err = a.layouts[i].sizes(in[i], known); err != nil {
			return nil, fmt.Errorf("%s: %w", layoutNames[i], err)
		}
	}
	q, k, v := a.sizes[0], a.sizes[1], a.sizes[2]
	if differ(q.of('d'), k.of('d')) || differ(k.of('s'), v.of('s')) {
		return nil, fmt.Errorf("Q has heads of %v and K of %v, K has %v keys and V %v", q.of('d'), k.of('d'), k.of('s'), v.of('s'))
	}
	a.y = axes{'h': known['h'], 'g': known['g'], 's': q.of('s'), 'd': v.of('d')}
	batch, err := shape.Broadcast(shape.Shape{q.of('b')}, shape.Shape{k.of('b')})
	if err == nil {
		batch, err = shape.Broadcast(batch, shape.Shape{v.of('b')})
	}
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	a.y['b'] = batch[0]
	for _, name := range []byte("bhgsd") {
		if !a.layouts[3].has(name) && !a.y[name].Is(1) {
			return nil, fmt.Errorf("y_layout has no axis %c, which has size %v", name, a.y[name])
		}
	}
	return a, nil
}

// differ reports whether two dimensions are known not to be the same.
func differ(x, y shape.Dim) bool {
	m, ok := x.Int()
	n, ok2 := y.Int()
	return ok && ok2 && m != n
}

func inferAttention(c *op.Infer) error {
	var in []shape.Shape
	for _, f := range c.In[:3] {
		if f.Shape == nil {
			c.Set(0, typeOfAttention(c.Node, c.In[0].DType), nil)
			return nil
		}
		in = append(in, f.Shape)
	}
	a, err := newAttention(c.Node, in)
	if err != nil {
		return err
	}
	if m := c.Input(3); m.Present && m.Shape != nil {
		if err := a.checkMask(m.Shape); err != nil {
			return err
		}
	}
	c.Set(0, typeOfAttention(c.Node, c.In[0].DType), a.layouts[3].shape(a.y))
	return nil
}

// typeOfAttention is that of Q, unless the node says otherwise.
func typeOfAttention(n *ir.Node, q dtype.Type) dtype.Type {
	if n.Bool("float32") {
		return dtype.Float32
	}
	return q
}

// scores is the shape to which the mask broadcasts.
func (a *attention) scores() shape.Shape {
	return shape.Shape{a.y['b'], a.y['h'].Mul(a.y['g']), a.y['s'], a.sizes[1].of('s')}
}

func (a *attention) checkMask(m shape.Shape) error {
	full := a.scores()
	if len(m) > len(full) {
		return fmt.Errorf("mask has shape %v, expected at most the %d dimensions of %v", m, len(full), full)
	}
	if a.repeats {
		if b, known := full[0].Int(); len(m) != 4 || known && !divides(m[0], b) {
			return fmt.Errorf("mask has shape %v, expected four dimensions of which the first divides %v", m, full[0])
		}
		m, full = m[1:], full[1:]
	}
	for i, d := range m {
		if want := full[len(full)-len(m)+i]; !d.Is(1) && differ(d, want) {
			return fmt.Errorf("mask has shape %v, which does not broadcast to %v", m, full)
		}
	}
	return nil
}

func divides(d shape.Dim, n int) bool {
	v, known := d.Int()
	return !known || v > 0 && n%v == 0
}

// counts gives the sizes of a run, which are known: batch, heads, groups, queries,
// keys, and the elements of a head of Q and of V.
func (a *attention) counts() (b, h, g, m, n, d, dv int) {
	get := func(x shape.Dim) int { v, _ := x.Int(); return v }
	return get(a.y['b']), get(a.y['h']), get(a.y['g']), get(a.y['s']), get(a.sizes[1].of('s')), get(a.sizes[0].of('d')), get(a.y['d'])
}

func attentionRef(c *op.Call) error {
	var in []shape.Shape
	for _, t := range c.In[:3] {
		in = append(in, shape.Of(t.Shape...))
	}
	a, err := newAttention(c.Node, in)
	if err != nil {
		return err
	}
	var mask []float64
	full, _ := a.scores().Ints()
	if t := c.Input(3); t != nil {
		if err := a.checkMask(shape.Of(t.Shape...)); err != nil {
			return err
		}
		mask = num.Floats(t)
		if a.repeats {
			mask = num.Broadcast(mask, append([]int{1}, t.Shape...), append([]int{full[0] / t.Shape[0], t.Shape[0]}, full[1:]...))
		} else {
			mask = num.Broadcast(mask, t.Shape, full)
		}
	}
	dims, _ := a.layouts[3].shape(a.y).Ints()
	y := a.compute(num.Floats(c.In[0]), num.Floats(c.In[1]), num.Floats(c.In[2]), mask, tensor.Count(dims))
	num.SetFloats(c.Output(0, typeOfAttention(c.Node, c.In[0].DType), dims...), y)
	return nil
}

// compute is the specification.
func (a *attention) compute(q, k, v, mask []float64, size int) []float64 {
	b, h, g, m, n, d, dv := a.counts()
	y := make([]float64, size)
	sq, sk, sv, sy := a.layouts[0].strides(a.sizes[0]), a.layouts[1].strides(a.sizes[1]), a.layouts[2].strides(a.sizes[2]), a.layouts[3].strides(a.y)
	row := make([]float64, n)
	for item := range b * h * g * m {
		at := [4]int{item / m / g / h, item / m / g % h, item / m % g, item % m}
		qi, ki, vi, yi := sq.at(at), sk.at([4]int{at[0], at[1], at[2], 0}), sv.at([4]int{at[0], at[1], at[2], 0}), sy.at(at)
		for j := range row {
			s := 0.
			for e := range d {
				s += float64(q[qi+e*sq.by['d']] * k[ki+j*sk.by['s']+e*sk.by['d']])
			}
			row[j] = s * a.scale
			if a.softcap > 0 {
				row[j] = a.softcap * math.Tanh(row[j]/a.softcap)
			}
			if mask != nil {
				row[j] += mask[item*n+j]
			}
			if a.hasFill {
				row[j] = math.Max(row[j], a.fill)
			}
		}
		a.softmax(row)
		for j, p := range row {
			for e := range dv {
				y[yi+e*sy.by['d']] += float64(p * v[vi+j*sv.by['s']+e*sv.by['d']])
			}
		}
	}
	return y
}

// at is the offset of element 0 of the head's row for (b, h, g, s).
func (s headStrides) at(i [4]int) int {
	return s.offset + i[0]*s.by['b'] + i[1]*s.by['h'] + i[2]*s.by['g'] + i[3]*s.by['s']
}

func (a *attention) softmax(v []float64) {
	top, sum := math.Inf(-1), 0.
	for _, x := range v {
		top = math.Max(top, x)
	}
	if a.zeroMasked && math.IsInf(top, -1) {
		clear(v)
		return
	}
	for i, x := range v {
		v[i] = math.Exp(x - top)
		sum += v[i]
	}
	for i := range v {
		v[i] /= sum
	}
}

// attentionKernel runs package attn.
type attentionKernel struct {
	task    attn.Task
	offsets [3]int
	dims    []int
	scratch int
}

func compileAnyAttention(p *op.Prep) (op.Kernel, error) {
	if storedHalf(p) {
		return compileAttention(p)
	}
	return wide.Compile(compileAttention)(p)
}

// storedHalf reports whether Q, K and V are stored in bfloat16 as the kernel wants them.
func storedHalf(p *op.Prep) bool {
	return p.Precision == op.BF16 && p.Node.Bool("float32") && p.In[0].DType == dtype.BFloat16
}

func compileAttention(p *op.Prep) (op.Kernel, error) {
	half := storedHalf(p)
	for i, f := range p.In {
		if f.Present && f.DType != dtype.Float32 && !(half && i < 3) {
			return nil, nil
		}
	}
	a, err := newAttention(p.Node, []shape.Shape{p.In[0].Shape, p.In[1].Shape, p.In[2].Shape})
	if err != nil {
		return nil, err
	}
	b, h, g, m, n, d, dv := a.counts()
	if a.scale == 0 || a.softcap > 0 && a.hasFill || d == 0 || n == 0 || b*m*dv == 0 {
		return nil, nil // the reference knows what is meant
	}
	k := &attentionKernel{dims: p.OutShape(0)}
	t := &k.task
	t.Batch, t.M, t.N, t.D, t.DV = []int{b, h, g}, m, n, d, dv
	t.BF16, t.Halves = p.Precision == op.BF16, half
	t.Scale, t.Fill, t.HasFill, t.ZeroMasked = float32(a.scale), float32(a.fill), a.hasFill, a.zeroMasked
	sizes := [4]axes{a.sizes[0], a.sizes[1], a.sizes[2], a.y}
	for i, v := range []*attn.View{&t.Q, &t.K, &t.V, &t.O} {
		s := a.layouts[i].strides(sizes[i])
		if i < 3 {
			k.offsets[i] = s.offset
		}
		if !place(v, s, i == 1, [2]int{seq(sizes[i]), head(sizes[i])}) {
			return nil, nil
		}
	}
	t.Softcap = float32(a.softcap)
	if p.Has(3) {
		dims := p.InShape(3)
		k.placeMask(dims, h, g)
		if a.repeats {
			k.splitBatch(dims[0])
		}
	}
	k.scratch = 4 * t.ScratchSize(p.Threads)
	return k, nil
}

func seq(a axes) int  { n, _ := a.of('s').Int(); return n }
func head(a axes) int { n, _ := a.of('d').Int(); return n }

// place sets the strides of an operand, unless the elements of a head (or,
// where that may be, its keys) do not lie side by side.
func place(v *attn.View, s headStrides, mayTranspose bool, dims [2]int) bool {
	v.Steps = []int{s.by['b'], s.by['h'], s.by['g']}
	switch {
	case s.by['d'] == 1 || dims[1] == 1:
		v.Stride = s.by['s']
	case mayTranspose && (s.by['s'] == 1 || dims[0] == 1):
		v.Stride, v.Trans = s.by['d'], true
	default:
		return false
	}
	return true
}

// placeMask reads the mask's shape as [b, h·g, queries, keys].
func (k *attentionKernel) placeMask(dims []int, h, g int) {
	var stride [4]int
	step := 1
	for i := len(dims) - 1; i >= 0; i-- {
		if dims[i] > 1 {
			stride[4-len(dims)+i] = step
		}
		step *= dims[i]
	}
	k.task.Mask = attn.Mask{Steps: []int{stride[0], stride[1] * g, stride[1]}, Row: stride[2], Col: stride[3]}
}

// Precision is that of the products.
func (k *attentionKernel) Precision() op.Precision {
	if k.task.BF16 {
		return op.BF16
	}
	return op.FP32
}

// splitBatch makes two dimensions of the batch, of which the mask has the second.
func (k *attentionKernel) splitBatch(n int) {
	t := &k.task
	t.Batch = append([]int{t.Batch[0] / n, n}, t.Batch[1:]...)
	for _, v := range []*attn.View{&t.Q, &t.K, &t.V, &t.O} {
		v.Steps = append([]int{v.Steps[0] * n}, v.Steps...)
	}
	t.Mask.Steps = append([]int{0}, t.Mask.Steps...)
}

// ScratchBytes is the working memory of a run.
func (k *attentionKernel) ScratchBytes() int { return k.scratch }

// Run computes attention.
func (k *attentionKernel) Run(c *op.Call) error {
	t := &k.task
	y := c.Output(0, dtype.Float32, k.dims...)
	t.Scratch = tensor.View[float32](c.Scratch)
	for i, v := range []*attn.View{&t.Q, &t.K, &t.V} {
		if t.Halves {
			v.Data16 = tensor.Of[uint16](c.In[i])[k.offsets[i]:]
		} else {
			v.Data = tensor.Of[float32](c.In[i])[k.offsets[i]:]
		}
	}
	t.O.Data = tensor.Of[float32](y)
	if m := c.Input(3); m != nil {
		t.Mask.Data = tensor.Of[float32](m)
	}
	err := t.Run(c.Pool)
	t.Scratch, t.Q.Data, t.K.Data, t.V.Data, t.O.Data, t.Mask.Data = nil, nil, nil, nil, nil, nil
	t.Q.Data16, t.K.Data16, t.V.Data16 = nil, nil, nil
	return err
}

// rowsAttention: each operand that has a batch axis carries rows there, and the
// mask in its first of four dimensions.
func rowsAttention(n *ir.Node, in []int) ([]int, bool) {
	l, err := layoutsOf(n)
	if err != nil {
		return nil, false
	}
	for i, v := range n.In {
		switch {
		case v == nil:
		case i == 3 && n.Bool("mask_repeats"):
			return nil, false
		case i == 3 && in[3] == op.NoRows:
			if s := v.Type.Shape; s == nil || len(s) == 4 && !s[0].Is(1) {
				return nil, false
			}
		case i == 3:
			if in[3] != 0 || len(v.Type.Shape) != 4 {
				return nil, false
			}
		case l[i].has('b') && (in[i] == op.NoRows || in[i] != l[i].alone('b')), !l[i].has('b') && in[i] != op.NoRows:
			return nil, false
		}
	}
	at := l[3].alone('b')
	return []int{at}, at >= 0
}
