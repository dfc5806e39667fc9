package serve

import (
	"context"
	"math/rand/v2"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/repo"
	"github.com/salver-ml/salver/internal/tensor"
)

// warmUp runs the configuration's warm-up requests.
func (s *servable) warmUp(ctx context.Context) error {
	for i := range s.config.ModelWarmup {
		w := &s.config.ModelWarmup[i]
		r, e := s.warmupRequest(w)
		if e != nil {
			return e
		}
		for range max(1, w.Count) {
			resp := &Response{}
			if _, e := s.arrange(r, resp); e != nil {
				return Errorf(InvalidArgument, "model_warmup %q: %w", w.Name, e)
			}
			_, release, err := s.run(ctx, resp.inputs)
			if err != nil {
				return Errorf(AsError(err).Kind, "model %q: model_warmup %q: %w", s.name, w.Name, err)
			}
			release()
		}
	}
	return nil
}

func (s *servable) warmupRequest(w *repo.Warmup) (*Request, *Error) {
	r := &Request{Model: s.name}
	for name, in := range w.Inputs {
		shape := in.Dims
		if s.config.MaxBatchSize > 0 {
			shape = append([]int{max(1, w.BatchSize)}, shape...)
		}
		n, ok := elements(shape)
		if !ok || n > maxWarmupElements {
			return nil, Errorf(InvalidArgument, "model %q: model_warmup %q: input %q: expected at most %d elements, found shape %s", s.name, w.Name, name, maxWarmupElements, shapeText(shape))
		}
		for _, d := range shape {
			if d < 0 {
				return nil, Errorf(InvalidArgument, "model %q: model_warmup %q: input %q: expected dims without -1, found %s", s.name, w.Name, name, shapeText(shape))
			}
		}
		t := tensor.New(dtype.Type(in.DataType), shape...)
		if in.RandomData {
			randomize(t)
		}
		r.Inputs = append(r.Inputs, NamedTensor{name, t})
	}
	return r, nil
}

// maxWarmupElements bounds what a configuration can make the server allocate.
const maxWarmupElements = 1 << 28

// randomize fills t with the same values each time: floats in [0,1), and 0 or
// 1 for all else, which serves indices too.
func randomize(t *tensor.Tensor) {
	rnd := rand.New(rand.NewPCG(1, 2))
	switch t.DType {
	case dtype.Float32:
		for i := range tensor.Of[float32](t) {
			tensor.Of[float32](t)[i] = rnd.Float32()
		}
	case dtype.Float64:
		for i := range tensor.Of[float64](t) {
			tensor.Of[float64](t)[i] = rnd.Float64()
		}
	case dtype.Float16:
		for i := range tensor.Of[uint16](t) {
			tensor.Of[uint16](t)[i] = dtype.F32ToF16(rnd.Float32())
		}
	case dtype.BFloat16:
		for i := range tensor.Of[uint16](t) {
			tensor.Of[uint16](t)[i] = dtype.F32ToBF16(rnd.Float32())
		}
	case dtype.String:
	default:
		for size, i := t.DType.Bytes(1), 0; i < len(t.Data); i += size {
			t.Data[i] = byte(rnd.IntN(2)) // little endian: the lowest byte comes first
		}
	}
}
