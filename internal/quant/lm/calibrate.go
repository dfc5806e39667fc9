package lm

import (
	"context"
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Calibrate runs the model on a text and chooses its weights by what they are
// multiplied with, for a GGUF file as o says. GPTQ rounds matrices whose format is
// one of groups of integers (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0), and leaves the others
// to Write with their importance. AWQ changes the model's tensors by factors, which
// cancel, and leaves all rounding to Write. The result's Close keeps the work
// folder; Done removes it.
func Calibrate(ctx context.Context, m *Model, text *Text, o *Options, r Recipe) (*Calibrated, error) {
	t := &blockTarget{newChooser(m, o.Mix, o)}
	if r.Method == GPTQ && !t.suits(m) {
		return nil, fmt.Errorf("gptq rounds to Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0, and %s gives no matrix such a format: choose one of these, or weight-only with --data for the importance of columns", o.Mix.Name)
	}
	w, err := r.walk(ctx, m, text, t, o.key())
	if err != nil {
		return nil, err
	}
	c := &Calibrated{Rounded: map[string]Tensor{}}
	if c.Importance, err = w.work.importance(); err != nil {
		return nil, err
	}
	if r.Method == AWQ {
		return c, w.applyAll()
	}
	return c, c.read(w.work)
}

// key states what the formats of tensors depend on.
func (o *Options) key() string {
	s := fmt.Sprint(o.Mix, o.Overrides, o.Pure)
	for _, f := range []*block.Format{o.Output, o.Embedding} {
		if f != nil {
			s += " " + f.String()
		}
	}
	return s
}

// suits reports whether some matrix gets a format that GPTQ rounds to.
func (b *blockTarget) suits(m *Model) bool {
	for i := range m.Tensors {
		if _, ok := b.scheme(&m.Tensors[i]); ok && m.Tensors[i].Name != "output.weight" {
			return true
		}
	}
	return false
}

// walk runs the model and leaves what it found in the work folder.
func (r *Recipe) walk(ctx context.Context, m *Model, text *Text, t target, settings ...any) (*rounder, error) {
	id, err := identity(m.Path)
	if err != nil {
		return nil, err
	}
	wd, err := openWork(r.Work, keyOf(append(settings, id, r.Method, r.GPTQ, text.Chunks)...))
	if err != nil {
		return nil, err
	}
	w, err := newWalk(m, text, r.Pool, r.Work)
	if err != nil {
		return nil, err
	}
	w.progress = r.Progress
	out := &rounder{walk: w, recipe: r, target: t, work: wd}
	f := out.enter
	if r.Method == AWQ {
		f = out.search
	}
	if wd.state.Next > 0 {
		r.note("%s: continuing an interrupted run at stage %d of %d", r.Work, wd.state.Next, len(w.stages))
	}
	return out, w.run(ctx, wd.state.Next, f, wd.reached)
}

// read opens the rounded tensors of a work folder.
func (c *Calibrated) read(w *work) error {
	paths, err := w.results()
	if err != nil {
		return err
	}
	for _, path := range paths {
		f, err := gguf.Open(path)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		c.files = append(c.files, f)
		for i := range f.Tensors {
			t, err := fromGGUF(&f.Tensors[i])
			if err != nil {
				return errors.Join(err, c.Close())
			}
			c.Rounded[t.Name] = t
		}
	}
	return nil
}

// RoundHQQ rounds the matrices whose format has minima (Q4_1, Q5_1) by HQQ.
func RoundHQQ(ctx context.Context, m *Model, o *Options, r Recipe) (*Calibrated, error) {
	t := &blockTarget{newChooser(m, o.Mix, o)}
	id, err := identity(m.Path)
	if err != nil {
		return nil, err
	}
	wd, err := openWork(r.Work, keyOf(id, r.Method, o.key()))
	if err != nil {
		return nil, err
	}
	c := &Calibrated{Rounded: map[string]Tensor{}}
	found := false
	for i := range m.Tensors {
		x := &m.Tensors[i]
		s, ok := t.scheme(x)
		if !ok || s.Symmetric {
			continue
		}
		found = true
		if i >= wd.state.Next {
			q, err := weight.HQQ(ctx, matrixOfTensor(x, r.Pool), s, r.Pool)
			if err == nil {
				err = errors.Join(wd.save(i, t.pack([]rounded{{x, q}})), wd.reached(i+1))
			}
			if err != nil {
				return nil, fmt.Errorf("tensor %q: %w", x.Name, err)
			}
		}
		if r.Progress != nil {
			r.Progress(i+1, len(m.Tensors))
		}
	}
	if !found {
		return nil, fmt.Errorf("hqq moves zero points, which Q4_1 and Q5_1 have, and %s gives no matrix such a format", o.Mix.Name)
	}
	return c, c.read(wd)
}
