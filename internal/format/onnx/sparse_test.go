package onnx_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/tensor"
)

// sparseTensor writes a SparseTensorProto of float32 values; the shape of the
// indices is given apart from their number.
func sparseTensor(name string, values []float32, indices []int64, indexDims []int, dims ...int) []byte {
	v := msg(field(1, len(values)), field(2, 1), field(8, name), field(9, tensor.AsBytes(values)))
	var i []byte
	for _, d := range indexDims {
		i = append(i, field(1, d)...)
	}
	i = append(i, msg(field(2, 7), field(9, tensor.AsBytes(indices)))...)
	b := msg(field(1, v), field(2, i))
	for _, d := range dims {
		b = append(b, field(3, d)...)
	}
	return b
}

func sparseModel(s []byte) []byte {
	return model(node("Add", []string{"x", "w"}, []string{"y"}), field(15, s), value(11, "x", 2, 3), value(12, "y", 2, 3))
}

func TestSparseTensorsAreMadeDense(t *testing.T) {
	constant := node("Constant", nil, []string{"w"}, field(5, msg(field(1, "sparse_value"), field(20, 11), field(22, sparseTensor("", []float32{5, 7}, []int64{1, 5}, []int{2}, 2, 3)))))
	for name, b := range map[string][]byte{
		"offsets":     sparseModel(sparseTensor("w", []float32{5, 7}, []int64{1, 5}, []int{2}, 2, 3)),
		"coordinates": sparseModel(sparseTensor("w", []float32{5, 7}, []int64{0, 1, 1, 2}, []int{2, 2}, 2, 3)),
		"constant":    model(constant, node("Add", []string{"x", "w"}, []string{"y"}), value(11, "x", 2, 3), value(12, "y", 2, 3)),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := onnx.Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			out := runModel(t, m, tensor.FromSlice([]float32{1, 1, 1, 1, 1, 1}, 2, 3))
			if got := tensor.Of[float32](out[0]); !slices.Equal(got, []float32{1, 6, 1, 1, 1, 8}) {
				t.Errorf("x + sparse = %v", got)
			}
		})
	}
}

func TestBadSparseTensorsAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		s    []byte
		want string
	}{
		"offset outside":     {sparseTensor("w", []float32{1}, []int64{6}, []int{1}, 2, 3), "index 6 is outside [2 3]"},
		"coordinate outside": {sparseTensor("w", []float32{1}, []int64{2, 0}, []int{1, 2}, 2, 3), "index [2 0] is outside [2 3]"},
		"negative":           {sparseTensor("w", []float32{1}, []int64{-1}, []int{1}, 2, 3), "index -1 is outside"},
		"too few indices":    {sparseTensor("w", []float32{1, 2}, []int64{1}, []int{1}, 2, 3), "indices are int64[1], expected int64[2]"},
		"no name":            {sparseTensor("", []float32{1}, []int64{1}, []int{1}, 2, 3), "has no name"},
		"huge":               {sparseTensor("w", []float32{1}, []int64{1}, []int{1}, 1<<20, 1<<20), "bytes when dense"},
		"no values":          {protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 2), "no values"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := onnx.Parse(sparseModel(c.s))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q", err, c.want)
			}
		})
	}
}
