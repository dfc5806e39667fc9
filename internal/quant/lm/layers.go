package lm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/packed"
	"github.com/salver-ml/salver/internal/format/safetensors"
	"github.com/salver-ml/salver/internal/format/whole"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// layers is a folder of transformers with layers of few bits.
type layers struct {
	m      *Model
	config *packed.Config
	s      weight.Scheme
}

// Layers is a folder of transformers as a configuration says, for a model that
// came from one.
func Layers(m *Model, c *packed.Config, s weight.Scheme) (Target, error) {
	if m.own == nil {
		return nil, fmt.Errorf("%s is a GGUF file: %v needs the model as a folder of transformers", m.Path, c.Method)
	}
	if s.Scale == 0 {
		s.Scale = dtype.Float16
	}
	return &layers{m: m, config: c, s: s}, nil
}

func (l *layers) scheme(t *Tensor) (weight.Scheme, bool) {
	return l.s, quantizable(t) && layerWeight(t) && l.config.Fits(t.Rows(), t.Cols()) == nil
}

func (l *layers) key() string { return fmt.Sprint("layers", l.config.Method, l.config.Format, l.s) }

// pack writes the tensors of layers as a safetensors file.
func (l *layers) pack(list []rounded) func(io.Writer) error {
	return func(w io.Writer) error {
		var sources []safetensors.Source
		for _, r := range list {
			m, err := sourceRows(r).Packed()
			if err != nil {
				return err
			}
			own := strings.TrimSuffix(l.m.own[r.Name], ".weight")
			tensors, err := l.config.Write(own, m, l.s.Scale)
			if err != nil {
				return err
			}
			for i := range tensors {
				sources = append(sources, tensors[i].Source())
			}
		}
		return safetensors.Write(w, nil, sources)
	}
}

// sourceRows puts rows into the order that the source has.
func sourceRows(r rounded) *weight.Quantized {
	if r.order == nil {
		return r.q
	}
	q := *r.q
	q.Codes, q.Scales = permuted(q.Codes, q.Rows, r.order), permuted(q.Scales, q.Rows, r.order)
	if q.Zeros != nil {
		q.Zeros = permuted(q.Zeros, q.Rows, r.order)
	}
	return &q
}

// permuted moves row i to row to(i).
func permuted[T any](v []T, rows int, to func(int) int) []T {
	out, n := make([]T, len(v)), len(v)/rows
	for i := range rows {
		copy(out[to(i)*n:(to(i)+1)*n], v[i*n:(i+1)*n])
	}
	return out
}

// WriteFolder writes a model whose layers Calibrate has rounded for t, which is
// what Layers gave, to a folder that must not be there yet. The folder appears when
// it is complete.
func WriteFolder(ctx context.Context, t Target, c *Calibrated, dir string) (rep *report.Report, err error) {
	l := t.(*layers)
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return nil, errors.New("the folder is there already, and not empty: expected a new one")
	}
	parent := filepath.Dir(filepath.Clean(dir))
	tmp, err := os.MkdirTemp(parent, ".salver-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return nil, err
	}
	if rep, err = l.writeWeights(ctx, c, filepath.Join(tmp, "model.safetensors")); err != nil {
		return nil, err
	}
	if err := errors.Join(l.writeConfig(tmp), copyRest(l.m.Path, tmp)); err != nil {
		return nil, err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return rep, os.Rename(tmp, dir)
}

// writeWeights writes all tensors into one file: those of rounded layers as they
// were packed, those that AWQ changed anew, and the others as they are.
func (l *layers) writeWeights(ctx context.Context, c *Calibrated, path string) (*report.Report, error) {
	file, err := safetensors.Open(l.m.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	rep := &report.Report{Model: l.m.Path, Method: l.config.Method.String(), Warnings: slices.Clone(l.m.Warnings)}
	var sources []safetensors.Source
	done := map[string]*safetensors.File{} // layers that are rounded, by their own names
	for _, p := range c.paths {
		f, err := safetensors.Open(p)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for i := range f.Tensors {
			t := &f.Tensors[i]
			sources = append(sources, t.Source())
			done[t.Name[:strings.LastIndexByte(t.Name, '.')]] = f
			rep.BytesAfter += int64(len(t.Data))
		}
	}
	known := map[string]*Tensor{}
	for i := range l.m.Tensors {
		known[l.m.own[l.m.Tensors[i].Name]] = &l.m.Tensors[i]
	}
	for i := range file.Tensors {
		t := &file.Tensors[i]
		rep.BytesBefore += int64(len(t.Data))
		layer, isWeight := strings.CutSuffix(t.Name, ".weight")
		if isWeight && done[layer] != nil {
			db, err := l.sqnr(known[t.Name], done[layer], layer)
			if err != nil {
				return nil, err
			}
			rep.Layers = append(rep.Layers, report.Layer{Name: layer, Op: "Linear", Precision: l.s.String(), Bits: l.s.BitsPerWeight(t.Shape[1]), SQNR: db})
			continue
		}
		rep.BytesAfter += int64(len(t.Data))
		sources = append(sources, l.unrounded(known[t.Name], t))
		if isWeight && len(t.Shape) == 2 {
			l.config.Ignore = append(l.config.Ignore, layer)
			rep.Layers = append(rep.Layers, report.Layer{Name: layer, Op: "Linear", Precision: t.Type.String(), Reason: l.why(known[t.Name], t), Bits: float64(t.Type.Bits()), SQNR: report.Exact})
		}
	}
	return rep, whole.Write(path, func(w io.Writer) error {
		return cmp.Or(ctx.Err(), safetensors.Write(w, map[string]string{"format": "pt"}, sources))
	})
}

// sqnr compares a rounded layer with the model's tensor.
func (l *layers) sqnr(x *Tensor, f *safetensors.File, layer string) (float64, error) {
	b, err := l.config.JSON()
	if err != nil {
		return 0, err
	}
	c, err := packed.Parse(b) // as a reader has it
	if err != nil {
		return 0, err
	}
	m, err := c.Read(func(name string) (*safetensors.Tensor, bool) {
		t, err := f.Tensor(name)
		return t, err == nil
	}, layer)
	if err != nil {
		return 0, err
	}
	values, row := make([]float32, m.Rows*m.Cols), make([]float32, m.Cols)
	m.Values(values)
	signal, noise := 0.0, 0.0
	for i := range m.Rows {
		x.Decode(row, i)
		from := i
		if x.order != nil {
			from = x.order(i)
		}
		s, n := squares(row, values[from*m.Cols:(from+1)*m.Cols])
		signal, noise = signal+s, noise+n
	}
	return report.Decibels(signal, noise), nil
}

// why says why a matrix was not rounded.
func (l *layers) why(x *Tensor, t *safetensors.Tensor) string {
	switch {
	case x == nil:
		return "of a mixture, or not used"
	case !layerWeight(x):
		return "an embedding, or the last product"
	case !quantizable(x):
		return "small, and much depends on it"
	}
	if err := l.config.Fits(t.Shape[0], t.Shape[1]); err != nil {
		return err.Error()
	}
	return ""
}

// unrounded is a tensor of the source, with the factors that AWQ found.
func (l *layers) unrounded(x *Tensor, t *safetensors.Tensor) safetensors.Source {
	if x == nil || x.columns == nil && x.rows == nil || x.Elems() != len(t.Data)/t.Type.Bytes(1) {
		return t.Source()
	}
	f := map[dtype.Type]block.Format{dtype.Float32: block.F32, dtype.Float16: block.F16, dtype.BFloat16: block.BF16}[t.Type]
	source := t.Source()
	source.WriteTo = func(w io.Writer) error {
		row, size := make([]float32, x.Cols()), x.Cols()*f.Bytes()
		b := make([]byte, x.Rows()*size)
		for i := range x.Rows() {
			x.Decode(row, i)
			for j := range row {
				row[j] -= x.Offset
			}
			to := i
			if x.order != nil && len(x.Shape) > 1 {
				to = x.order(i)
			}
			block.Encode(f, b[to*size:(to+1)*size], row)
		}
		_, err := w.Write(b)
		return err
	}
	return source
}

// writeConfig adds the configuration of layers to that of the model.
func (l *layers) writeConfig(dir string) error {
	b, err := os.ReadFile(filepath.Join(l.m.Path, "config.json"))
	if err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	slices.Sort(l.config.Ignore)
	if fields["quantization_config"], err = l.config.JSON(); err != nil {
		return err
	}
	if b, err = json.MarshalIndent(fields, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), append(b, '\n'), 0o644)
}

// copyRest copies tokenizer, template and what else is small and no weights.
func copyRest(from, to string) error {
	list, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := e.Name()
		ends := func(end string) bool { return strings.HasSuffix(name, end) }
		if !e.Type().IsRegular() && e.Type()&os.ModeSymlink == 0 || name == "config.json" || ends(".index.json") ||
			!slices.ContainsFunc([]string{".json", ".jinja", ".model", ".txt", ".tiktoken", "LICENSE"}, ends) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
