package onnx

import (
	"fmt"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/tensor"
)

// maxSparseBytes bounds what the sparse tensors of a model take when they are
// made dense: a few bytes can otherwise declare any size.
const maxSparseBytes = 256 << 20

// sparse reads a SparseTensorProto as a dense tensor, zero elsewhere.
func (im *importer) sparse(b []byte) (name string, t *tensor.Tensor, err error) {
	var values, indices *tensorProto
	var dims []int64
	err = fields(b, func(f field) (err error) {
		switch f.id {
		case 1:
			values, err = parseTensor(f.bytes)
		case 2:
			indices, err = parseTensor(f.bytes)
		case 3:
			dims, err = f.ints(dims)
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	if values == nil || indices == nil {
		return "", nil, fmt.Errorf("sparse tensor has no values or no indices")
	}
	if t, err = im.dense(values, indices, dims); err != nil {
		return "", nil, fmt.Errorf("sparse tensor %q: %w", values.name, err)
	}
	return values.name, t, nil
}

func (im *importer) dense(values, indices *tensorProto, dims []int64) (*tensor.Tensor, error) {
	v, err := values.decode(im.ext)
	if err != nil {
		return nil, err
	}
	at, err := indices.decode(im.ext)
	if err != nil {
		return nil, err
	}
	shape, err := (&tensorProto{dims: dims}).shape(v.DType)
	if err != nil {
		return nil, err
	}
	size := v.DType.Bits() / 8
	if v.DType == dtype.String || size == 0 {
		return nil, fmt.Errorf("sparse tensors of %s are not supported", v.DType)
	}
	if im.sparseBytes += tensor.Count(shape) * size; im.sparseBytes > maxSparseBytes {
		return nil, fmt.Errorf("the model's sparse tensors are more than %d bytes when dense", maxSparseBytes)
	}
	places, err := sparsePlaces(at, v.Len(), shape)
	if err != nil {
		return nil, err
	}
	t := tensor.New(v.DType, shape...)
	clear(t.Data)
	for i, p := range places {
		copy(t.Data[p*size:(p+1)*size], v.Data[i*size:])
	}
	return t, nil
}

// sparsePlaces gives the offset of each of n values: indices are offsets, [n],
// or coordinates, [n, rank].
func sparsePlaces(indices *tensor.Tensor, n int, shape []int) ([]int, error) {
	s := indices.Shape
	coordinates := len(s) == 2 && s[0] == n && s[1] == len(shape)
	if indices.DType != dtype.Int64 || !coordinates && !(len(s) == 1 && s[0] == n) {
		return nil, fmt.Errorf("indices are %s, expected int64[%d] or int64[%d,%d]", indices, n, n, len(shape))
	}
	places := make([]int, n)
	v := tensor.Of[int64](indices)
	for i := range places {
		if !coordinates {
			if v[i] < 0 || v[i] >= int64(tensor.Count(shape)) {
				return nil, fmt.Errorf("index %d is outside %v", v[i], shape)
			}
			places[i] = int(v[i])
			continue
		}
		for d, size := range shape {
			x := v[i*len(shape)+d]
			if x < 0 || x >= int64(size) {
				return nil, fmt.Errorf("index %v is outside %v", v[i*len(shape):][:len(shape)], shape)
			}
			places[i] = places[i]*size + int(x)
		}
	}
	return places, nil
}
