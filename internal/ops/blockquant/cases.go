package blockquant

import (
	"math/rand/v2"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// allFormats are those that can be decoded.
func allFormats() (out []block.Format) {
	for f := range block.Format(64) {
		if f.Decodes() {
			out = append(out, f)
		}
	}
	return out
}

func attrs(f block.Format, k int) map[string]*ir.Attr {
	return map[string]*ir.Attr{"format": ir.Str(f.String()), "k": ir.Int(k)}
}

// randomWeights are n rows: blocks of any bytes that decode to moderate numbers.
func randomWeights(f block.Format, n, k int) *tensor.Tensor {
	row, _ := f.RowBytes(k)
	t := tensor.New(dtype.Uint8, n, row)
	r := rand.New(rand.NewPCG(uint64(f), 1))
	values := make([]float32, f.Elems())
	for at := 0; at < len(t.Data); at += f.Bytes() {
		b := t.Data[at : at+f.Bytes()]
		for try := true; try; try = !moderate(values) {
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			block.Decode(f, values, b)
		}
	}
	return t
}

func moderate(v []float32) bool {
	for _, x := range v {
		if !(x > -100 && x < 100) {
			return false
		}
	}
	return true
}

func noise(dims ...int) *tensor.Tensor {
	r := rand.New(rand.NewPCG(uint64(tensor.Count(dims)), 2))
	v := make([]float32, tensor.Count(dims))
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return tensor.FromSlice(v, dims...)
}

type matMulCases struct{}

func (matMulCases) Cases() (cases []op.Case) {
	q8 := make([]byte, 34)
	q8[1] = 0x3c // scale 1
	q8[2], q8[3] = 3, 0xff
	x := make([]float32, 32)
	x[0], x[1] = 127, 2
	cases = append(cases, op.Case{
		Name: "values", Attrs: attrs(block.Q8_0, 32), In: []*tensor.Tensor{tensor.FromSlice(x, 1, 32), tensor.FromSlice(q8, 1, 34), tensor.FromSlice([]float32{.5}, 1)},
		Out: []*tensor.Tensor{tensor.FromSlice([]float32{379.5}, 1, 1)},
	})
	for _, f := range allFormats() {
		k := max(64, f.Elems())
		in := []*tensor.Tensor{noise(3, k), randomWeights(f, 19, k)}
		cases = append(cases, op.Case{Name: f.String(), Attrs: attrs(f, k), In: in})
	}
	return append(cases,
		op.Case{Name: "bias and residual", Attrs: attrs(block.Q4_K, 512), In: []*tensor.Tensor{noise(2, 3, 512), randomWeights(block.Q4_K, 37, 512), noise(37), noise(2, 3, 37)}},
		op.Case{Name: "decoded with bias", Attrs: attrs(block.IQ3_S, 256), In: []*tensor.Tensor{noise(2, 3, 256), randomWeights(block.IQ3_S, 65, 256), noise(65), noise(2, 3, 65)}},
		op.Case{Name: "float32 with bias", Attrs: attrs(block.F32, 40), In: []*tensor.Tensor{noise(2, 3, 40), randomWeights(block.F32, 65, 40), noise(65), noise(2, 3, 65)}},
		op.Case{Name: "prompts", Attrs: attrs(block.Q4_K, 512), Tol: 1e-2,
			In: []*tensor.Tensor{noise(21, 512), randomWeights(block.Q4_K, 37, 512), noise(37), noise(21, 37), tensor.FromSlice([]int32{3}, 1)}},
		op.Case{Name: "prompts alone", Attrs: attrs(block.Q8_0, 64), Tol: 1e-2,
			In: []*tensor.Tensor{noise(2, 64), randomWeights(block.Q8_0, 19, 64), nil, nil, tensor.FromSlice([]int32{0}, 1)}},
		op.Case{Name: "no rows", Attrs: attrs(block.Q4_0, 64), In: []*tensor.Tensor{noise(0, 64), randomWeights(block.Q4_0, 19, 64)}},
		op.Case{Name: "a vector", Attrs: attrs(block.Q6_K, 256), In: []*tensor.Tensor{noise(256), randomWeights(block.Q6_K, 33, 256)}},
	)
}

type productsCases struct{}

func (productsCases) Cases() (cases []op.Case) {
	type form struct {
		f block.Format
		n int
	}
	for _, c := range []struct {
		name       string
		dims       []int // of x
		w          []form
		bias       bool
		generated  int // -1: x has no roles
		activation string
	}{
		{"two formats", []int{2, 3, 256}, []form{{block.Q4_K, 70}, {block.Q6_K, 33}, {block.Q4_K, 16}}, false, -1, ""},
		{"biases", []int{5, 64}, []form{{block.Q8_0, 19}, {block.Q4_0, 1}}, true, -1, ""},
		{"one", []int{64}, []form{{block.Q5_0, 19}}, false, -1, ""},
		{"gate", []int{17, 256}, []form{{block.Q4_K, 300}, {block.Q4_K, 300}}, false, -1, "silu"},
		{"gate of one row", []int{1, 64}, []form{{block.Q8_0, 19}, {block.Q8_0, 19}}, true, -1, "gelu_tanh"},
		{"prompts", []int{21, 512}, []form{{block.Q4_K, 37}, {block.Q6_K, 37}}, true, 3, ""},
		{"gate of prompts", []int{40, 64}, []form{{block.Q4_0, 90}, {block.Q4_0, 90}}, false, 20, "silu"},
		{"decoded", []int{3, 256}, []form{{block.IQ3_S, 20}, {block.Q4_0, 9}, {block.F16, 3}}, false, 1, ""},
		{"no rows", []int{0, 64}, []form{{block.Q4_0, 20}, {block.Q8_0, 9}}, false, -1, ""},
	} {
		k := c.dims[len(c.dims)-1]
		in, rows, formats := []*tensor.Tensor{noise(c.dims...), nil, nil}, 0, []string(nil)
		for i, w := range c.w {
			in, rows, formats = append(in, smallWeights(w.f, w.n, k, i)), rows+w.n, append(formats, w.f.String())
		}
		if c.bias {
			in[pBias] = noise(rows)
		}
		if c.generated >= 0 {
			in[pGenerated] = tensor.FromSlice([]int32{int32(c.generated)}, 1)
		}
		results := len(c.w)
		if c.activation != "" {
			results = 1
		}
		cases = append(cases, op.Case{Name: c.name, In: in, Out: make([]*tensor.Tensor, results), Tol: 1e-2,
			Attrs: map[string]*ir.Attr{"formats": ir.Strs(formats...), "k": ir.Int(k), "activation": ir.Str(c.activation)}})
	}
	return cases
}

type gatherCases struct{}

func (gatherCases) Cases() (cases []op.Case) {
	q8 := make([]byte, 2*34)
	q8[1], q8[35] = 0x3c, 0x40 // scales 1 and 2
	q8[2], q8[36] = 3, 0xff
	want := make([]float32, 64)
	want[0], want[32] = -2, 3
	cases = append(cases, op.Case{
		Name: "values", Attrs: attrs(block.Q8_0, 32), In: []*tensor.Tensor{tensor.FromSlice([]int64{-1, 0}, 2), tensor.FromSlice(q8, 2, 34)},
		Out: []*tensor.Tensor{tensor.FromSlice(want, 2, 32)},
	})
	for _, f := range allFormats() {
		k := 256
		cases = append(cases, op.Case{Name: f.String(), Attrs: attrs(f, k), In: []*tensor.Tensor{tensor.FromSlice([]int32{3, 0, -1, 2, 2, 1}, 2, 3), randomWeights(f, 5, k)}})
	}
	return cases
}

type expertsCases struct{}

func (expertsCases) Cases() (cases []op.Case) {
	for _, c := range []struct {
		name                  string
		tokens, experts, used int
		k, ffn                int
		normalize             int
		gate, up, down        block.Format
		tol                   float64
	}{
		{"float32", 7, 5, 2, 24, 40, 0, block.F32, block.F32, block.F32, 0},
		{"one token", 1, 4, 4, 32, 16, 1, block.F32, block.BF16, block.F16, 0},
		{"no tokens", 0, 3, 2, 64, 32, 1, block.F32, block.Q8_0, block.Q4_0, 0},
		{"many tokens", 70, 9, 3, 64, 32, 1, block.F32, block.F32, block.F32, 0},
		// An activation that is rounded the other way for a last bit's sake moves a result.
		{"quantized", 37, 6, 2, 256, 256, 1, block.Q4_K, block.Q4_K, block.Q6_K, 1e-2},
		{"mixed", 5, 3, 1, 64, 256, 0, block.Q8_0, block.IQ4_NL, block.IQ3_S, 1e-2},
	} {
		in := []*tensor.Tensor{noise(c.tokens, c.k), positive(c.tokens, c.experts)}
		for _, m := range []struct {
			f    block.Format
			n, k int
		}{{c.gate, c.ffn, c.k}, {c.up, c.ffn, c.k}, {c.down, c.k, c.ffn}} {
			for e := range c.experts {
				in = append(in, smallWeights(m.f, m.n, m.k, e))
			}
		}
		cases = append(cases, op.Case{Name: c.name, In: in, Tol: c.tol, Attrs: map[string]*ir.Attr{"used": ir.Int(c.used), "normalize": ir.Int(c.normalize), "k": ir.Int(c.k), "ffn": ir.Int(c.ffn),
			"gate_format": ir.Str(c.gate.String()), "up_format": ir.Str(c.up.String()), "down_format": ir.Str(c.down.String())}})
	}
	return cases
}

// smallWeights are n rows of noise as far as the format has it.
func smallWeights(f block.Format, n, k, seed int) *tensor.Tensor {
	if !f.Encodes() && f != block.F32 {
		return randomWeights(f, n, k)
	}
	row, _ := f.RowBytes(k)
	t := tensor.New(dtype.Uint8, n, row)
	r := rand.New(rand.NewPCG(uint64(seed), 3))
	v := make([]float32, n*k)
	for i := range v {
		v[i] = float32(r.NormFloat64() / 8)
	}
	block.Encode(f, t.Data, v)
	return t
}

// positive are numbers above 0.
func positive(dims ...int) *tensor.Tensor {
	t := noise(dims...)
	for i, v := range tensor.Of[float32](t) {
		tensor.Of[float32](t)[i] = v * v
	}
	return t
}
