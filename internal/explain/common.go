package explain

import (
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// pair is a value that two graphs have in common.
type pair struct {
	Tally
	name      string
	got, want *ir.Value
	scale     float64 // of integers that got holds; 0 if it holds floats
	zero      int64
	apart     bool // the shapes differ
}

// common pairs float32 values of two graphs. A value belongs to the reference's value
// of its name, without the numbers that the pass driver appends and the endings that
// quantizers do. What a DequantizeLinear gives belongs to the value that was
// quantized, and integers with one scale count as the numbers that they stand for. Of
// several that belong to one value of the reference the last is taken: what its
// readers see.
func common(got, want *ir.Graph) []pair {
	known := floatsByName(want)
	names := map[*ir.Value]string{}
	for _, o := range got.Outputs { // an output counts under the caller's name
		names[o.Value] = o.Name
	}
	var pairs []pair
	at := map[*ir.Value]int{}
	for _, n := range got.Nodes {
		for _, v := range n.Out {
			p, ok := candidate(v)
			if !ok {
				continue
			}
			for _, name := range append(origins(v), names[v]) {
				if p.want = known[name]; p.want != nil {
					p.name = name
					break
				}
			}
			if p.want == nil {
				continue
			}
			if i, ok := at[p.want]; ok {
				pairs[i].want = nil
			}
			at[p.want] = len(pairs)
			pairs = append(pairs, p)
		}
	}
	kept := pairs[:0]
	for _, p := range pairs {
		if p.want != nil {
			kept = append(kept, p)
		}
	}
	return kept
}

// floatsByName gives the float32 values that nodes of g make.
func floatsByName(g *ir.Graph) map[string]*ir.Value {
	m := map[string]*ir.Value{}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			if v != nil && v.Type.DType == dtype.Float32 {
				m[v.Name] = v
			}
		}
	}
	for _, o := range g.Outputs {
		if v := o.Value; v.Type.DType == dtype.Float32 && v.Producer != nil {
			m[o.Name] = v
		}
	}
	return m
}

// candidate reports whether a value can be compared with floats.
func candidate(v *ir.Value) (p pair, ok bool) {
	if v == nil {
		return p, false
	}
	p.got = v
	switch v.Type.DType {
	case dtype.Float32:
		return p, !v.Producer.Is("DequantizeLinear") || !v.Producer.In[0].IsConst()
	case dtype.Int8, dtype.Uint8, dtype.Int16, dtype.Uint16:
		p.scale, p.zero, ok = resultFormat(v.Producer)
	}
	return p, ok
}

// resultFormat gives the one scale and zero point of what a node quantizes to.
func resultFormat(n *ir.Node) (scale float64, zero int64, ok bool) {
	at := 0 // input of the scale
	switch {
	case n.Op == "QuantizeLinear":
		at = 1
	case n.Op == "QLinearConv", n.Op == "QLinearMatMul", n.Domain == op.Microsoft && (n.Op == "QLinearAdd" || n.Op == "QLinearMul"):
		at = 6
	case n.Domain == op.Microsoft && (n.Op == "QLinearGlobalAveragePool" || n.Op == "QLinearAveragePool" || n.Op == "QLinearSigmoid" || n.Op == "QLinearLeakyRelu" || n.Op == "QLinearSoftmax"):
		at = 3
	case n.Domain == op.Microsoft && n.Op == "QLinearConcat":
		at = 0
	default:
		return 0, 0, false
	}
	s, z := n.Input(at), n.Input(at+1)
	if !s.IsConst() || s.Const.Len() != 1 || z != nil && (!z.IsConst() || z.Const.Len() != 1) {
		return 0, 0, false
	}
	if z != nil {
		zero = num.Int64s(z.Const)[0]
	}
	return num.Floats(s.Const)[0], zero, true
}

// endings are what quantizers append to the names of values.
var endings = []string{"_DequantizeLinear_Output", "_QuantizeLinear_Output", "_DequantizeLinear", "_QuantizeLinear", "_dequantized", "_quantized"}

// origins lists the names that the value which v stands for may have had, the likeliest first.
func origins(v *ir.Value) []string {
	direct := []string{v.Name}
	if n := v.Producer; n.Is("DequantizeLinear") {
		direct = append(direct, n.In[0].Name)
		if q := n.In[0].Producer; q.Is("QuantizeLinear") {
			direct = append(direct, q.In[0].Name)
		}
	}
	var names []string
	for _, name := range direct {
		names = append(names, name, stem(name))
		for _, end := range endings {
			if s, ok := strings.CutSuffix(stem(name), end); ok {
				names = append(names, s)
			}
		}
	}
	return names
}

// stem undoes the numbering of names by the pass driver.
func stem(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i > 0 && strings.Trim(name[i+1:], "0123456789") == "" {
		return name[:i]
	}
	return name
}

// floats gives the numbers that a value of the pair stands for.
func (p *pair) floats(t *tensor.Tensor) []float32 {
	if t.DType == dtype.Float32 {
		return tensor.Of[float32](t)
	}
	ints := num.Int64s(t)
	f := make([]float32, len(ints))
	for i, q := range ints {
		f[i] = float32(float64(q-p.zero) * p.scale)
	}
	return f
}
