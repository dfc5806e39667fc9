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

func attrs(f block.Format, k int) map[string]ir.Attr {
	return map[string]ir.Attr{"format": ir.Str(f.String()), "k": ir.Int(k)}
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

func matMulCases() (cases []op.Case) {
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
		op.Case{Name: "a vector", Attrs: attrs(block.Q6_K, 256), In: []*tensor.Tensor{noise(256), randomWeights(block.Q6_K, 33, 256)}},
	)
}

func gatherCases() (cases []op.Case) {
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
