// Package backend lets the server run models on the engine.
package backend

import (
	"context"
	"errors"

	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/mmap"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/serve"
	"github.com/salver-ml/salver/internal/tensor"
)

// Backend is a model that is ready to serve.
type Backend struct {
	engine          *engine.Engine
	inputs, outputs []serve.TensorInfo
	mixes           error // why requests cannot be joined, or nil
}

// New takes over a prepared model.
func New(e *engine.Engine) *Backend {
	b := &Backend{engine: e, mixes: e.Rows}
	for _, v := range e.Graph().Inputs {
		b.inputs = append(b.inputs, info(v.Name, v.Type))
	}
	for _, o := range e.Graph().Outputs {
		out := info(o.Name, o.Value.Type)
		out.Labels = op.ClassLabels(o.Value)
		b.outputs = append(b.outputs, out)
	}
	return b
}

// Open makes an opener that prepares every model with the same options, lm for
// language models.
func Open(o engine.Options, lm llm.Options) serve.Opener {
	return func(_ context.Context, r serve.OpenRequest) (serve.Backend, error) {
		if llm.Recognise(r.Path) {
			return openLanguage(r, lm)
		}
		e, err := engine.Load(r.Path, o)
		if err != nil {
			return nil, err
		}
		b := New(e)
		if err := b.Prepare(); err != nil {
			return nil, errors.Join(err, b.Close())
		}
		return b, nil
	}
}

func info(name string, t ir.Type) serve.TensorInfo {
	i := serve.TensorInfo{Name: name, DType: t.DType}
	if t.Shape != nil {
		i.Shape = make([]int, 0, len(t.Shape))
	}
	for _, d := range t.Shape {
		n, ok := d.Int()
		if !ok {
			n = -1
		}
		i.Shape = append(i.Shape, n)
	}
	return i
}

// Inputs describes the model's inputs.
func (b *Backend) Inputs() []serve.TensorInfo { return b.inputs }

// Outputs describes the model's outputs.
func (b *Backend) Outputs() []serve.TensorInfo { return b.outputs }

// Batchable says whether requests may be joined, and if not, which node forbids it.
func (b *Backend) Batchable() (bool, string) {
	if b.mixes != nil {
		return false, b.mixes.Error()
	}
	return true, ""
}

// Run computes the outputs. They are new tensors; release frees the large ones.
func (b *Backend) Run(ctx context.Context, inputs []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	out := make([]*tensor.Tensor, len(b.outputs))
	large := new(buffers)
	if err := b.engine.RunWith(ctx, inputs, out, large.alloc); err != nil {
		large.free()
		return nil, nil, classify(err)
	}
	return out, large.free, nil
}

// buffers are the large outputs of a run. They lie outside the collector's
// heap, where the next large run would find them still there as garbage.
type buffers struct{ list []*mmap.Buffer }

func (b *buffers) alloc(n int) []byte {
	m := mmap.Alloc(n)
	b.list = append(b.list, m)
	return m.Bytes()
}

func (b *buffers) free() {
	for _, m := range b.list {
		m.Free()
	}
	b.list = nil
}

// classify makes what the caller sent wrongly, or asks too much with, an
// InvalidArgument, and what does not fit into memory now ResourceExhausted.
func classify(err error) error {
	if exec.IsInputError(err) || exec.NeverFits(err) {
		return serve.Errorf(serve.InvalidArgument, "%w", err)
	}
	if exec.IsMemoryError(err) {
		return serve.Errorf(serve.ResourceExhausted, "%w", err)
	}
	return err
}

// MemoryBytes is what the model holds in memory.
func (b *Backend) MemoryBytes() int64 { return b.engine.MemoryBytes() }

// Close frees the model.
func (b *Backend) Close() error { return b.engine.Close() }
