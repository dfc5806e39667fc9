package llm

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/tensor"
)

// openTensors maps the weights.
func (s *source) openTensors(path string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	w := newFolderWeights(f, s.arch)
	s.weights, s.release, s.close = w, f.Release, f.Close
	if s.params, err = w.openQuantized(s.config.Quantized); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	for _, t := range f.Tensors {
		s.bytes += int64(len(t.Data))
		if w.parts[t.Name] {
			continue
		}
		if _, ok := formats[t.Type]; !ok && t.Type.IsFloat() {
			return errors.Join(fmt.Errorf("%s: tensor %q is %s, expected float32, float16 or bfloat16", path, t.Name, t.Type), f.Close())
		}
		s.params += int64(tensor.Count(t.Shape))
	}
	return nil
}

// folderWeights finds the tensors of safetensors files by their GGUF names.
type folderWeights struct {
	file   *safetensors.File
	arch   *arch.Architecture
	prefix string // that the file's names lack, such as "model."
	asked  map[string]bool
	// quantized is nil where no layer has few bits. parts are the tensors of those
	// that have.
	quantized *packed.Config
	parts     map[string]bool
	err       error // of the first layer that could not be read
}

func newFolderWeights(f *safetensors.File, a *arch.Architecture) *folderWeights {
	w := &folderWeights{file: f, arch: a, asked: map[string]bool{}}
	if name, ok := a.HuggingFaceName("token_embd.weight"); ok {
		w.prefix = a.Prefix(name, f.Has)
	}
	return w
}

// formats are the types that products take.
var formats = map[dtype.Type]block.Format{dtype.Float32: block.F32, dtype.Float16: block.F16, dtype.BFloat16: block.BF16}

// Weight gives a tensor where it lies in the file. Matrices that the file has
// transposed are copied.
func (w *folderWeights) Weight(name string) (arch.Weight, bool) {
	own := w.Name(name)
	if layer, ok := strings.CutSuffix(own, ".weight"); ok && w.quantized != nil && w.quantized.Has(w.tensor, layer) {
		return w.fewBits(layer)
	}
	t, err := w.file.Tensor(own)
	if err != nil {
		return arch.Weight{}, false
	}
	f, ok := formats[t.Type]
	if !ok {
		return arch.Weight{}, false // integers and the like
	}
	w.asked[own] = true
	out := arch.Weight{Format: f, Shape: t.Shape, Data: t.Data}
	if w.arch.IsTransposed(name) && len(t.Shape) == 2 {
		out = transposed(out, t.Type.Bytes(1))
	}
	return out, true
}

// openQuantized holds the shapes of all layers of few bits together, and gives
// the number of their weights.
func (w *folderWeights) openQuantized(c *packed.Config) (count int64, err error) {
	if c == nil {
		return 0, nil
	}
	w.quantized, w.parts = c, map[string]bool{}
	for _, t := range w.file.Tensors {
		at := strings.LastIndexByte(t.Name, '.')
		if at < 0 || w.parts[t.Name] || !c.Has(w.tensor, t.Name[:at]) {
			continue
		}
		rows, cols, err := c.Shape(w.tensor, t.Name[:at])
		if err != nil {
			return 0, err
		}
		count += int64(rows) * int64(cols)
		for _, name := range c.Names(t.Name[:at]) {
			w.parts[name] = true
		}
	}
	return count, nil
}

// fewBits gives the weights of a layer of few bits, which are copied.
func (w *folderWeights) fewBits(layer string) (arch.Weight, bool) {
	for _, name := range w.quantized.Names(layer) {
		w.asked[name] = true
	}
	m, err := w.quantized.Read(w.tensor, layer)
	if err != nil {
		w.err = cmp.Or(w.err, err)
		return arch.Weight{}, false
	}
	return arch.FromPacked(m), true
}

// tensor is a packed.Source.
func (w *folderWeights) tensor(name string) (*safetensors.Tensor, bool) {
	t, err := w.file.Tensor(name)
	return t, err == nil
}

// Err is why a layer of few bits could not be read.
func (w *folderWeights) Err() error { return w.err }

// Name is what the file calls a tensor, or the GGUF name if it has none.
func (w *folderWeights) Name(name string) string {
	own, ok := w.arch.HuggingFaceName(name)
	if !ok {
		return name
	}
	return w.arch.Rename(own, w.prefix)
}

// Rest are the tensors that nothing asked for.
func (w *folderWeights) Rest() (names []string) {
	for _, t := range w.file.Tensors {
		if !w.asked[t.Name] {
			names = append(names, t.Name)
		}
	}
	return names
}

// transposed copies a matrix of elements of the given size.
func transposed(w arch.Weight, size int) arch.Weight {
	rows, cols := w.Shape[0], w.Shape[1]
	out := arch.Weight{Format: w.Format, Shape: []int{cols, rows}, Data: make([]byte, len(w.Data))}
	for i := range rows {
		for j := range cols {
			from, to := (i*cols+j)*size, (j*rows+i)*size
			if size == 4 {
				binary.NativeEndian.PutUint32(out.Data[to:], binary.NativeEndian.Uint32(w.Data[from:]))
			} else {
				copy(out.Data[to:to+size], w.Data[from:])
			}
		}
	}
	return out
}
