package oip

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Classify gives the k highest elements of each row of t as a BYTES tensor of
// "value:index" or "value:index:label", highest first, the lower index first
// among equals and NaN last. With batched, t's first dimension is the batch and
// the result is [batch, k]; otherwise all of t is one row and the result is [k].
// A row with fewer than k elements gives them all.
func Classify(t *tensor.Tensor, k int, batched bool, labels []string) (*tensor.Tensor, error) {
	rows, width := 1, t.Len()
	if batched && t.Rank() > 0 {
		rows = t.Shape[0]
		width = tensor.Count(t.Shape[1:])
	}
	k = min(k, width)
	out := tensor.New(dtype.String, rows, k)
	if !batched || t.Rank() == 0 {
		out.Shape = out.Shape[1:]
	}
	for r := range rows {
		top, err := highest(t, r*width, width, k)
		if err != nil {
			return nil, err
		}
		for j, i := range top {
			s := element(t, r*width+i) + ":" + strconv.Itoa(i)
			if i < len(labels) {
				s += ":" + labels[i]
			}
			out.Strings[r*k+j] = s
		}
	}
	return out, nil
}

// highest gives the indices of the k highest of the n elements from base on.
func highest(t *tensor.Tensor, base, n, k int) ([]int, error) {
	switch t.DType {
	case dtype.Float32:
		return top(tensor.Of[float32](t)[base:base+n], k), nil
	case dtype.Float64:
		return top(tensor.Of[float64](t)[base:base+n], k), nil
	case dtype.Int8:
		return top(tensor.Of[int8](t)[base:base+n], k), nil
	case dtype.Int16:
		return top(tensor.Of[int16](t)[base:base+n], k), nil
	case dtype.Int32:
		return top(tensor.Of[int32](t)[base:base+n], k), nil
	case dtype.Int64:
		return top(tensor.Of[int64](t)[base:base+n], k), nil
	case dtype.Uint8:
		return top(tensor.Of[uint8](t)[base:base+n], k), nil
	case dtype.Uint16:
		return top(tensor.Of[uint16](t)[base:base+n], k), nil
	case dtype.Uint32:
		return top(tensor.Of[uint32](t)[base:base+n], k), nil
	case dtype.Uint64:
		return top(tensor.Of[uint64](t)[base:base+n], k), nil
	case dtype.Float16, dtype.BFloat16:
		f := make([]float32, n)
		for i, h := range tensor.Of[uint16](t)[base : base+n] {
			f[i] = widen(t.DType, h)
		}
		return top(f, k), nil
	}
	return nil, fmt.Errorf("classification needs an output of numbers, found %s", t.DType.OIP())
}

// top sorts the indices of the k highest values; k is small, so it inserts.
func top[T cmp.Ordered](v []T, k int) []int {
	best := make([]int, 0, k+1)
	for i := range v {
		if len(best) == k && (k == 0 || cmp.Compare(v[i], v[best[k-1]]) <= 0) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, i, func(a, b int) int {
			if c := cmp.Compare(v[b], v[a]); c != 0 {
				return c
			}
			return cmp.Compare(a, b)
		})
		best = slices.Insert(best, at, i)
		best = best[:min(len(best), k)]
	}
	return best
}

func widen(t dtype.Type, h uint16) float32 {
	if t == dtype.BFloat16 {
		return math.Float32frombits(uint32(h) << 16)
	}
	return dtype.F16ToF32(h)
}

// element is an element in decimal.
func element(t *tensor.Tensor, i int) string {
	switch t.DType {
	case dtype.Float32:
		return strconv.FormatFloat(float64(tensor.Of[float32](t)[i]), 'g', -1, 32)
	case dtype.Float64:
		return strconv.FormatFloat(tensor.Of[float64](t)[i], 'g', -1, 64)
	case dtype.Int8:
		return fmt.Sprint(tensor.Of[int8](t)[i])
	case dtype.Int16:
		return fmt.Sprint(tensor.Of[int16](t)[i])
	case dtype.Int32:
		return fmt.Sprint(tensor.Of[int32](t)[i])
	case dtype.Int64:
		return fmt.Sprint(tensor.Of[int64](t)[i])
	case dtype.Uint8:
		return fmt.Sprint(tensor.Of[uint8](t)[i])
	case dtype.Uint16:
		return fmt.Sprint(tensor.Of[uint16](t)[i])
	case dtype.Uint32:
		return fmt.Sprint(tensor.Of[uint32](t)[i])
	case dtype.Uint64:
		return fmt.Sprint(tensor.Of[uint64](t)[i])
	}
	return strconv.FormatFloat(float64(widen(t.DType, tensor.Of[uint16](t)[i])), 'g', -1, 32)
}

// ClassifyOutput replaces output i of an answer by its k classes, with the
// labels of the model's configuration.
func ClassifyOutput(core *serve.Core, r *serve.Response, i, k int) error {
	cfg, err := core.Config(r.Model, r.Version)
	if err != nil {
		return err
	}
	o := &r.Outputs[i]
	labels, err := core.Labels(r.Model, r.Version, o.Name)
	if err != nil {
		return err
	}
	t, err := Classify(o.Tensor, k, cfg.MaxBatchSize > 0, labels)
	if err != nil {
		return serve.Errorf(serve.InvalidArgument, "output %q: %w", o.Name, err)
	}
	o.Tensor = t
	return nil
}
