package ptq

import (
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/passes/fuse"
	"github.com/salver-ml/salver/internal/passes/match"
	"github.com/salver-ml/salver/internal/passes/quant"
	"github.com/salver-ml/salver/internal/quant/calib"
)

// role is what quantization sees in a node.
type role uint8

const (
	roleFloat    role = iota // computed in floating point
	roleConv                 // a convolution with constant weights
	roleProduct              // MatMul or Gemm with constant weights
	roleEmbed                // rows of constant weights by index
	roleStored               // other constant weights: stored in 8 bits, computed with in floating point
	rolePair                 // a sum or product of two activations
	roleMean                 // GlobalAveragePool
	roleConcat               // joins
	roleMove                 // moves elements
	roleFunction             // a function of one number
)

// weighted reports whether nodes of the role have weights to quantize.
func (r role) weighted() bool { return r >= roleConv && r <= roleStored }

// plan says which values of a graph are quantized.
//
// Convolutions and products want integers to read; convolutions give integers,
// products only where something reads them as such. What lies between integers
// and such readers computes on integers too if it can: sums, joins, what moves
// elements. Functions of one number are computed in floating point between two
// integers, which our passes make a table of, so that nothing is rounded within
// a chain of them.
type plan struct {
	g       *ir.Graph
	o       *Options
	known   func(*ir.Value) bool // whether its range is known
	role    map[*ir.Node]role
	reason  map[*ir.Node]string          // why a node with weights is not quantized
	act     map[*ir.Node]*ir.Value       // what activation has found
	useful  map[*ir.Value]bool           // whether something computes with it as integers
	integer map[*ir.Node]bool            // computes on integers
	types   map[*ir.Value]dtype.Type     // of the values that are quantized
	makers  map[*ir.Value]*ir.Node       // the integer operators that give them
	share   map[*ir.Value]*ir.Value      // takes its format from
	seen    map[*ir.Value]calib.Observer // which chose the range
}

// newPlan decides for a graph. known says for which values ranges exist.
func newPlan(g *ir.Graph, o *Options, known func(*ir.Value) bool) *plan {
	p := &plan{g: g, o: o, known: known, role: map[*ir.Node]role{}, reason: map[*ir.Node]string{}, act: map[*ir.Node]*ir.Value{},
		useful: map[*ir.Value]bool{}, integer: map[*ir.Node]bool{}, types: map[*ir.Value]dtype.Type{}, makers: map[*ir.Value]*ir.Node{}, seen: map[*ir.Value]calib.Observer{}, share: map[*ir.Value]*ir.Value{}}
	for _, n := range g.Nodes {
		p.role[n] = p.roleOf(n)
	}
	for _, n := range slices.Backward(g.Nodes) {
		p.findUse(n)
	}
	for _, n := range g.Nodes {
		p.forward(n)
	}
	p.widen()
	p.findMakers()
	p.shareFormats()
	return p
}

func (p *plan) roleOf(n *ir.Node) role {
	r, why := p.classify(n)
	if r == roleFloat {
		if why != "" {
			p.reason[n] = why
		}
		return r
	}
	if !p.wanted(n, r) {
		p.reason[n] = notWanted
		return roleFloat
	}
	if precision, why := p.o.precision(n); precision == Float32 {
		p.reason[n] = why
		return roleFloat
	}
	return r
}

// wanted reports whether Options.Ops has n's operator. Only those with weights
// are asked for; the others follow.
func (p *plan) wanted(n *ir.Node, r role) bool {
	return p.o.Ops == nil || !r.weighted() || slices.Contains(p.o.Ops, n.Op)
}

// notWanted is why a node stays that Options.Ops does not have.
const notWanted = "not among the operators to quantize"

// classify says what n could be, or for nodes with weights why it is nothing.
func (p *plan) classify(n *ir.Node) (r role, why string) {
	if n.Domain != "" || len(n.Out) == 0 || n.Out[0] == nil || !match.Float32(n.Out[0]) {
		return roleFloat, ""
	}
	switch n.Op {
	case "Conv":
		return convRole(n)
	case "MatMul", "Gemm":
		return productRole(n)
	case "Gather":
		if embeds(n) {
			return roleEmbed, ""
		}
	case "ConvTranspose", "LSTM", "GRU", "RNN":
		return storedRole(n, "")
	case "Add", "Mul":
		if match.Float32(n.In[0]) && match.Float32(n.In[1]) && !n.In[0].IsConst() && !n.In[1].IsConst() {
			return rolePair, ""
		}
	case "GlobalAveragePool":
		if len(n.In[0].Type.Shape) == 4 {
			return roleMean, ""
		}
		return roleFloat, ""
	case "Concat":
		if !slices.ContainsFunc(n.In, func(v *ir.Value) bool { return v.IsConst() }) {
			return roleConcat, ""
		}
		return roleFloat, ""
	}
	if quant.Moves(n) && !n.In[0].IsConst() {
		return roleMove, ""
	}
	if _, ok := quant.FunctionOf(n); ok {
		return roleFunction, ""
	}
	return roleFloat, ""
}

func convRole(n *ir.Node) (role, string) {
	w := n.In[1]
	switch {
	case !match.Float32(n.In[0]) || !match.Float32(w) || w.IsConst() && w.Const.Len() == 0:
		return roleFloat, "its input or its weights are no float32 numbers"
	case !w.IsConst() || n.Input(2) != nil && !n.In[2].IsConst():
		return roleFloat, "its weights or its bias are not constant"
	case w.Const.Rank() > 4 || w.Const.Rank() < 3:
		return storedRole(n, "integer kernels convolve in one and two dimensions")
	}
	return roleConv, ""
}

func productRole(n *ir.Node) (role, string) {
	w := n.In[1]
	switch {
	case n.In[0].IsConst() || !w.IsConst():
		return roleFloat, "" // a product of activations has no weights
	case !match.Float32(n.In[0]) || w.Const.Rank() != 2 || w.Const.Len() == 0:
		return roleFloat, "its weights are no matrix of float32"
	case n.Op == "Gemm" && (n.Bool("transA") || n.Float("alpha") != 1 || n.Input(2) != nil && n.Float("beta") != 1):
		return roleFloat, "alpha, beta or transA are not the defaults"
	case n.Input(2) != nil && (!n.In[2].IsConst() || n.In[2].Const.Len() != w.Const.Shape[channelAxis(n)]):
		return roleFloat, "its bias is no constant of one number for each column"
	}
	return roleProduct, ""
}

// storedRole is that of a node whose weights are worth storing in 8 bits.
func storedRole(n *ir.Node, why string) (role, string) {
	if len(stored(n)) == 0 {
		return roleFloat, why
	}
	return roleStored, ""
}

// stored lists the inputs of n that are large constant weights.
func stored(n *ir.Node) (list []int) {
	inputs := []int{1}
	if n.Op != "Conv" && n.Op != "ConvTranspose" {
		inputs = []int{1, 2} // of the input and of the state
	}
	for _, i := range inputs {
		if v := n.Input(i); v.IsConst() && match.Float32(v) && v.Const.Len() >= leastEmbedding && v.Const.Rank() > 1 {
			list = append(list, i)
		}
	}
	return list
}

// channelAxis is the axis of a product's or convolution's weights along which its results run.
func channelAxis(n *ir.Node) int {
	if n.Op == "Conv" || n.Op == "Gemm" && n.Bool("transB") {
		return 0
	}
	return 1
}

// leastEmbedding is the number of weights from which rows looked up by index are
// worth two nodes more.
const leastEmbedding = 1 << 12

func embeds(n *ir.Node) bool {
	w := n.In[0]
	return w.IsConst() && w.Const.DType == dtype.Float32 && w.Const.Rank() == 2 && n.Int("axis") == 0 && w.Const.Len() >= leastEmbedding && w.Const.Shape[1] >= 8
}

// activation gives the result of the Relu or Clip that alone reads the result of
// n, or that result. Symmetric mappings leave Relu alone: no end of their range
// is zero.
func (p *plan) activation(n *ir.Node) *ir.Value {
	if v := p.act[n]; v != nil {
		return v
	}
	v := n.Out[0]
	fuses := p.role[n] == roleConv || p.role[n] == roleProduct || p.role[n] == rolePair
	for fuses && match.Private(v) {
		next := v.Uses()[0].Node
		name, _, ok := fuse.ActivationOf(next)
		if !ok || name != "relu" && name != "clip" || p.role[next] != roleFunction || p.o.Symmetric {
			break
		}
		v = next.Out[0]
	}
	p.act[n] = v
	return v
}

// operands are the activations that n reads as integers.
func (p *plan) operands(n *ir.Node) []*ir.Value {
	switch p.role[n] {
	case rolePair, roleConcat:
		return n.In
	case roleConv, roleProduct, roleMean, roleMove:
		return n.In[:1]
	}
	return nil
}

// root is the value of which v is a function, element by element, through values
// that are not quantized: v itself if there is none.
func (p *plan) root(v *ir.Value) *ir.Value {
	n := v.Producer
	if n == nil || p.types[v] != 0 {
		return v
	}
	switch p.role[n] {
	case roleFunction:
		x, _ := quant.FunctionOf(n)
		return p.root(x)
	case rolePair:
		if a := p.root(n.In[0]); a == p.root(n.In[1]) {
			return a
		}
	}
	return v
}

// available reports whether v is quantized or a function of one number that is.
func (p *plan) available(v *ir.Value) bool { return p.types[p.root(v)] != 0 }

// findUse notes whether what n reads ends in integers that something computes with.
func (p *plan) findUse(n *ir.Node) {
	r := p.role[n]
	useful := r == roleConv || r == roleProduct
	for _, v := range n.Out {
		useful = useful || v != nil && p.useful[v]
	}
	if !useful {
		return
	}
	for _, v := range p.operands(n) {
		p.useful[v] = true
	}
	if r == roleFunction {
		x, _ := quant.FunctionOf(n)
		p.useful[x] = true
	}
}

// forward quantizes what n reads and gives, if it computes on integers.
func (p *plan) forward(n *ir.Node) {
	out := p.activation(n)
	switch p.role[n] {
	case roleConv:
		p.take(n, n.In[:1], out)
	case roleProduct:
		if !p.useful[out] {
			out = nil
		}
		p.take(n, n.In[:1], out)
	case rolePair:
		if p.useful[out] && p.available(n.In[0]) && p.available(n.In[1]) && p.root(n.In[0]) != p.root(n.In[1]) {
			p.take(n, n.In, out)
		}
	case roleMean, roleConcat:
		if p.useful[n.Out[0]] && !slices.ContainsFunc(p.operands(n), func(v *ir.Value) bool { return !p.available(v) }) {
			p.take(n, p.operands(n), n.Out[0])
		}
	case roleMove:
		if p.available(n.In[0]) {
			p.move(n)
		}
	}
}

// take makes n an integer operator, if the ranges of what it reads and gives are
// known; out is nil where it gives floating point.
func (p *plan) take(n *ir.Node, in []*ir.Value, out *ir.Value) {
	for _, v := range append(slices.Clone(in), out) {
		if v != nil && !p.known(v) {
			p.reason[n] = "no sample has reached it"
			return
		}
	}
	p.integer[n] = true
	for _, v := range in {
		p.demand(v)
	}
	if out != nil {
		p.types[out] = p.o.Activations
	}
}

// move lets n move integers where something computes with them.
func (p *plan) move(n *ir.Node) {
	for _, v := range n.Out {
		if v != nil && p.useful[v] {
			p.integer[n] = true
			p.types[v] = p.o.Activations
		}
	}
	if p.integer[n] {
		p.demand(n.In[0])
	}
}

// demand quantizes v, and instead of what only moves or joins v what that reads.
func (p *plan) demand(v *ir.Value) {
	if p.types[v] != 0 {
		return
	}
	p.types[v] = p.o.Activations
	n := v.Producer
	if n == nil || p.integer[n] {
		return
	}
	switch p.role[n] {
	case roleMove:
		if sameSize[n.Op] && p.known(n.In[0]) {
			p.integer[n] = true
			p.demand(n.In[0])
		}
	case roleConcat:
		if slices.ContainsFunc(n.In, p.available) && !slices.ContainsFunc(n.In, func(v *ir.Value) bool { return !p.known(v) }) {
			p.integer[n] = true
			for _, v := range n.In {
				p.demand(v)
			}
		}
	}
}

// sameSize are the operators that give each element of their input once.
var sameSize = map[string]bool{"Reshape": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Transpose": true, "Identity": true, "DepthToSpace": true, "SpaceToDepth": true}

// result is the quantized value that an integer operator gives; nil if it gives floating point.
func (p *plan) result(n *ir.Node) *ir.Value {
	if v := p.activation(n); p.types[v] != 0 {
		return v
	}
	return nil
}

// widen gives the values around nodes that are kept at 16 bits types of 16 bits.
func (p *plan) widen() {
	wide := map[dtype.Type]dtype.Type{dtype.Uint8: dtype.Uint16, dtype.Int8: dtype.Int16}[p.o.Activations]
	if wide == 0 {
		return
	}
	for changed := true; changed; {
		changed = false
		for _, n := range p.g.Nodes {
			if !p.integer[n] {
				continue
			}
			around := p.around(n)
			precision, _ := p.o.precision(n)
			moved := p.role[n] == roleMove && slices.ContainsFunc(around, func(v *ir.Value) bool { return p.types[v] == wide })
			if precision != Int16 && !moved {
				continue
			}
			for _, v := range around {
				if p.types[v] != wide {
					p.types[v], changed = wide, true
				}
			}
		}
	}
}

// around are the quantized values that an integer operator reads and gives.
func (p *plan) around(n *ir.Node) []*ir.Value {
	vs := slices.Clone(p.operands(n))
	if p.role[n] == roleMove {
		vs = append(vs, n.Out...)
	} else if v := p.result(n); v != nil {
		vs = append(vs, v)
	}
	return slices.DeleteFunc(vs, func(v *ir.Value) bool { return v == nil || p.types[v] == 0 })
}

// findMakers notes which integer operators give the quantized values.
func (p *plan) findMakers() {
	for _, n := range p.g.Nodes {
		switch {
		case !p.integer[n]:
		case p.role[n] == roleMove:
			for _, v := range n.Out {
				if v != nil && p.types[v] != 0 {
					p.makers[v] = n
				}
			}
		case p.result(n) != nil:
			p.makers[p.result(n)] = n
		}
	}
}

// shareFormats lets what moved elements keep their format, and what is only
// joined take that of the whole, so that nothing is quantized twice.
func (p *plan) shareFormats() {
	for _, n := range p.g.Nodes {
		if !p.integer[n] {
			continue
		}
		switch p.role[n] {
		case roleMove:
			for _, v := range n.Out {
				if v != nil && p.types[v] != 0 {
					p.share[v] = n.In[0]
				}
			}
		case roleConcat:
			for _, v := range n.In {
				p.shareJoined(v, n.Out[0])
			}
		}
	}
}

// shareJoined lets v, which is joined into out, take the format of out, if
// nothing else reads it.
func (p *plan) shareJoined(v, out *ir.Value) {
	for match.Private(v) {
		n := v.Producer
		if n == nil || !p.integer[n] || p.role[n] != roleMove {
			if p.share[v] == nil && p.types[v] == p.types[out] {
				p.share[v] = out
			}
			return
		}
		v = n.In[0]
	}
}

// source is the value whose range v is mapped by.
func (p *plan) source(v *ir.Value) *ir.Value {
	for p.share[v] != nil {
		v = p.share[v]
	}
	return v
}
