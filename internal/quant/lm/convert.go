package lm

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/llm"
	"github.com/salver-ml/salver/internal/llm/arch"
	"github.com/salver-ml/salver/internal/token"
)

// recorder notes which tensors a graph asks for, in order.
type recorder struct {
	arch.Weights
	names []string
	found map[string]arch.Weight
}

func (r *recorder) Weight(name string) (arch.Weight, bool) {
	if w, ok := r.found[name]; ok {
		return w, true
	}
	w, ok := r.Weights.Weight(name)
	if ok {
		r.names = append(r.names, name)
		r.found[name] = w
	}
	return w, ok
}

// record builds a model's graph to learn which tensors it has.
func record(f *llm.Files) (*recorder, error) {
	a := f.Architecture()
	r := &recorder{Weights: f.Weights(), found: map[string]arch.Weight{}}
	c := f.Config()
	if _, err := a.Graph(c, r, arch.Options{Cache: dtype.Float16, Context: c.Context, Blocks: 1}); err != nil {
		return nil, err
	}
	return r, a.CheckRest(f.Weights().Rest(), c)
}

// openFolder states a folder of transformers as a GGUF file.
func openFolder(path string) (*Model, error) {
	f, err := llm.OpenFiles(path)
	if err != nil {
		return nil, err
	}
	m := &Model{Path: path, converted: true, release: f.Release, close: f.Close}
	if err := m.convert(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return m, nil
}

func (m *Model) convert(f *llm.Files) error {
	c := f.Config()
	pairs, err := arch.ToGGUF(c)
	if err != nil {
		return err
	}
	m.Pairs = append(pairs[:1:1], gguf.Pair{Key: "general.type", Value: "model"}, gguf.Pair{Key: "general.name", Value: filepath.Base(filepath.Clean(m.Path))})
	m.Pairs = append(m.Pairs, pairs[1:]...)
	entries, err := token.ToGGUF(os.DirFS(m.Path), c.Vocabulary, f.Ends())
	if err != nil {
		return err
	}
	for _, e := range entries {
		m.Pairs = append(m.Pairs, gguf.Pair(e))
	}
	if text := f.ChatTemplate(); text != "" {
		m.Pairs = append(m.Pairs, gguf.Pair{Key: "tokenizer.chat_template", Value: text})
	}
	r, err := record(f)
	if err != nil {
		return err
	}
	m.own = map[string]string{}
	for _, name := range r.names {
		m.own[name] = f.Weights().Name(name)
	}
	rope := c.RopeTensors()
	for _, name := range slices.Sorted(maps.Keys(rope)) {
		m.Tensors = append(m.Tensors, vectorTensor(name, rope[name]))
	}
	return m.take(r, c)
}

// take arranges the tensors as GGUF files have them.
func (m *Model) take(r *recorder, c *arch.Config) error {
	llama := m.value("general.architecture") == "llama"
	gemma := strings.HasPrefix(c.Architecture, "gemma")
	var experts []Tensor // of one matrix, which are asked for one after the other
	for _, name := range r.names {
		t, err := fromWeight(name, r.found[name])
		if err != nil {
			return err
		}
		if all, ok := expertOf(name); ok {
			if experts = append(experts, t); len(experts) < c.Experts {
				continue
			}
			if t, err = stack(all, experts); err != nil {
				return err
			}
			experts = nil
		}
		switch {
		case llama && strings.HasSuffix(name, ".attn_q.weight"), llama && strings.HasSuffix(name, ".attn_q.bias"):
			t = interleave(t, c.Heads)
		case llama && strings.HasSuffix(name, ".attn_k.weight"), llama && strings.HasSuffix(name, ".attn_k.bias"):
			t = interleave(t, c.KVHeads)
		case gemma && strings.HasSuffix(name, "norm.weight"):
			t.Offset = 1
		case strings.HasSuffix(name, ".ffn_gate_inp_shexp.weight"):
			t.Shape = t.Shape[1:]
		}
		m.Tensors = append(m.Tensors, t)
	}
	return nil
}

func fromWeight(name string, w arch.Weight) (Tensor, error) {
	if w.Order != nil {
		return Tensor{}, fmt.Errorf("tensor %q was quantized with its columns out of order (act-order), for which GGUF has no form: take the original model", name)
	}
	w = w.Plain()
	return fromGGUF(&gguf.Tensor{Name: name, Format: w.Format, Shape: w.Shape, Data: w.Data})
}

// vectorTensor is a tensor of numbers at hand.
func vectorTensor(name string, v []float32) Tensor {
	b := make([]byte, 4*len(v))
	block.Encode(block.F32, b, v)
	return Tensor{Name: name, Format: block.F32, Shape: []int{len(v)}, Row: func(int) []byte { return b }, data: b}
}

// expertOf gives the name of the stack that "blk.0.ffn_up_exp.3.weight" is part of.
func expertOf(name string) (stack string, ok bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 5 || !strings.HasSuffix(parts[2], "_exp") {
		return "", false
	}
	return strings.Join([]string{parts[0], parts[1], parts[2] + "s", parts[4]}, "."), true
}

// stack puts the matrices of experts on each other.
func stack(name string, experts []Tensor) (Tensor, error) {
	first := &experts[0]
	for i := range experts {
		if e := &experts[i]; !slices.Equal(e.Shape, first.Shape) || e.Format != first.Format {
			return Tensor{}, fmt.Errorf("tensor %q has shape %v and format %v, the experts before it %v and %v", e.Name, e.Shape, e.Format, first.Shape, first.Format)
		}
	}
	rows := first.Rows()
	return Tensor{Name: name, Format: first.Format, Shape: slices.Concat([]int{len(experts)}, first.Shape),
		Row: func(i int) []byte { return experts[i/rows].Row(i % rows) }}, nil
}

// interleave orders the rows of each head as rotary embeddings of GGUF's llama
// turn them: pairs lie next to each other, which in transformers lie half a head
// apart. A vector is ordered in the same way.
func interleave(t Tensor, heads int) Tensor {
	rows := t.Shape[0]
	head := rows / heads
	from := func(i int) int { return i/head*head + i%head%2*(head/2) + i%head/2 }
	row := t.Row
	if len(t.Shape) > 1 {
		t.Row, t.data, t.order = func(i int) []byte { return row(from(i)) }, nil, from
		return t
	}
	size := t.Format.Bytes()
	b, old := make([]byte, rows*size), row(0)
	for i := range rows {
		copy(b[i*size:(i+1)*size], old[from(i)*size:])
	}
	t.Row, t.data = func(int) []byte { return b }, b
	return t
}
