package lm

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// scaling multiplies the columns of matrices that read the same values, and
// divides what these values come from.
type scaling struct {
	columns []string // tensors whose columns are multiplied
	source  string   // the tensor, without its end, that gives the values
	rows    bool     // source is a matrix, whose rows are divided; else a norm
	scales  []float32
}

// scalingOf says where the factors of a group's inputs can go; false if what is
// between forbids it.
func (m *Model) scalingOf(g *group) (s scaling, ok bool) {
	for _, u := range g.input.Uses() {
		if !slices.ContainsFunc(g.products, func(p *product) bool { return p.node == u.Node }) {
			return s, false // such as the experts, when the router's turn is
		}
	}
	s.columns = namesOf(g.products)
	layer, rest, ok := cutLayer(s.columns[0])
	if !ok {
		return s, false
	}
	part, _, _ := strings.Cut(rest, ".")
	switch part {
	case "attn_q", "attn_k", "attn_v", "attn_qkv":
		s.source = layer + "attn_norm"
	case "ffn_gate", "ffn_up", "ffn_gate_inp":
		s.source = layer + "ffn_norm"
	case "attn_output": // values pass attention unmixed, if each head has its own
		s.source, s.rows = layer+"attn_v", true
		heads := m.number("attention.head_count", 1)
		if m.number("attention.head_count_kv", heads) != heads {
			return s, false
		}
	case "ffn_down": // the gate multiplies what ffn_up gives
		s.source, s.rows = layer+"ffn_up", true
		if !m.has(layer + "ffn_gate.weight") {
			return s, false
		}
	}
	return s, s.source != "" && m.has(s.source+".weight")
}

// cutLayer cuts "blk.3.attn_v.weight" behind the layer.
func cutLayer(name string) (layer, rest string, ok bool) {
	parts := strings.SplitN(name, ".", 3)
	if len(parts) < 3 || parts[0] != "blk" {
		return "", name, false
	}
	return parts[0] + "." + parts[1] + ".", parts[2], true
}

// apply puts the factors into the model's tensors.
func (m *Model) apply(s *scaling) error {
	index := m.index()
	inverse := make([]float32, len(s.scales))
	for i, v := range s.scales {
		inverse[i] = 1 / v
	}
	for _, name := range s.columns {
		t := &m.Tensors[index[name]]
		if t.Cols() != len(s.scales) {
			return fmt.Errorf("tensor %q has %d columns, and %d factors", name, t.Cols(), len(s.scales))
		}
		t.columns = product2(t.columns, s.scales)
	}
	for _, end := range []string{".weight", ".bias"} {
		i, ok := index[s.source+end]
		if !ok {
			continue
		}
		t := &m.Tensors[i]
		n, to := t.Cols(), &t.columns
		if s.rows && len(t.Shape) > 1 {
			n, to = t.Rows(), &t.rows
		}
		if n != len(inverse) {
			return fmt.Errorf("tensor %q has %d numbers for %d factors", t.Name, n, len(inverse))
		}
		*to = product2(*to, inverse)
	}
	return nil
}

// product2 multiplies factors with those that were there before.
func product2(old, by []float32) []float32 {
	out := slices.Clone(by)
	for i := range old {
		out[i] *= old[i]
	}
	return out
}

// nearSchemes are what AWQ takes the formats for that are no groups of integers.
var nearSchemes = map[block.Format]weight.Scheme{
	block.Q2_K: {Kind: weight.Int, Bits: 2, Group: 16}, block.Q3_K: {Kind: weight.Int, Bits: 3, Group: 16, Symmetric: true},
	block.Q4_K: {Kind: weight.Int, Bits: 4, Group: 32}, block.Q5_K: {Kind: weight.Int, Bits: 5, Group: 32},
	block.Q6_K: {Kind: weight.Int, Bits: 6, Group: 16, Symmetric: true}, block.MXFP4: {Kind: weight.MXFP4, Group: 32},
	block.IQ4_NL: {Kind: weight.NF4, Group: 32, Symmetric: true}, block.IQ4_XS: {Kind: weight.NF4, Group: 32, Symmetric: true},
}

// near is the scheme of a matrix as AWQ sees it.
func (r *rounder) near(t *Tensor) (weight.Scheme, bool) {
	if s, ok := r.target.scheme(t); ok {
		return s, true
	}
	if b, ok := r.target.(*blocks); ok && quantizable(t) {
		f, _ := b.format(t)
		s, ok := nearSchemes[f]
		return s, ok
	}
	return weight.Scheme{}, false
}

// search finds the factors of the inputs of a stage's products by AWQ. The model
// stays as it is until all are known.
func (r *rounder) search(ctx context.Context, stage int, products []*product) (map[string]*Tensor, error) {
	var found []scaling
	im := r.newImportance()
	for _, g := range groups(products) {
		a, err := r.activations(g.input, weight.WantRows)
		if err != nil {
			return nil, err
		}
		for _, name := range namesOf(g.products) {
			im.byTensor[name] = a.MeanSquare()
		}
		s, ok := r.m.scalingOf(g)
		if !ok {
			continue
		}
		var list []weight.Matrix
		var scheme weight.Scheme
		for _, p := range g.products {
			t := &r.m.Tensors[r.index[p.matrices[0].name]]
			if one, ok := r.near(t); ok && !p.experts() && quantizable(t) {
				scheme = one
				list = append(list, matrixOfTensor(t, r.pool))
			}
		}
		if len(list) == 0 {
			continue
		}
		best, err := weight.AWQ(ctx, list, a, scheme, nil, r.pool)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.columns[0], err)
		}
		if best.Ratio >= 0 {
			s.scales = best.Scales
			found = append(found, s)
		}
	}
	if err := r.work.saveImportance(stage, im); err != nil {
		return nil, err
	}
	return nil, r.work.save(stage, packScales(found))
}

// scaleSuffix ends the names of factors in a work folder.
const scaleSuffix = ".scales"

// packScales writes factors under the name of the first matrix that has them.
func packScales(list []scaling) func(io.Writer) error {
	return func(w io.Writer) error {
		var sources []gguf.Source
		for _, s := range list {
			sources = append(sources, floats(s.columns[0]+scaleSuffix, s.scales, len(s.scales)))
		}
		return gguf.Write(w, nil, sources)
	}
}

// applyAll puts the factors of a work folder into the model.
func (r *rounder) applyAll() error {
	for stage, list := range r.products {
		f, err := gguf.Open(r.work.result(stage))
		if err != nil {
			continue // a stage without a result
		}
		for _, g := range groups(list) {
			s, ok := r.m.scalingOf(g)
			if !ok {
				continue
			}
			t, err := f.Tensor(s.columns[0] + scaleSuffix)
			if err != nil {
				continue
			}
			s.scales = make([]float32, t.Shape[0])
			block.Decode(block.F32, s.scales, t.Data)
			if err := r.m.apply(&s); err != nil {
				return err
			}
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
