package lm

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/format/whole"
	"github.com/salver-ml/salver/internal/quant/weight"
)

// Calibrated is what has been found out about a model: how much columns count,
// and matrices that are rounded already.
type Calibrated struct {
	Importance *Importance
	work       *work
	paths      []string // of files with rounded matrices
	files      []*gguf.File
}

// Calibrate chooses the weights of a model for a target, and keeps what is done
// in the recipe's work folder. GPTQ and AWQ run the model on a text; nil is none.
//
// GPTQ rounds the matrices that have a scheme, and leaves the others to the
// target's own rounding, with their importance. AWQ multiplies tensors of m by
// factors that cancel each other, and rounds to nearest. HQQ takes each matrix by
// itself.
func Calibrate(ctx context.Context, m *Model, text *Text, t Target, r Recipe) (*Calibrated, error) {
	if !m.suits(t, r.Method) {
		return nil, fmt.Errorf("%v has no matrix to round here: in GGUF files it rounds to %s; choose such a type, or weight-only with --data for the importance of columns", r.Method,
			map[Method]string{GPTQ: "Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0", HQQ: "Q4_1 and Q5_1"}[r.Method])
	}
	id, err := identity(m.Path)
	if err != nil {
		return nil, err
	}
	var chunks [][]int32
	if text != nil {
		chunks = text.Chunks
	}
	c := &Calibrated{}
	if c.work, err = openWork(r.Work, keyOf(id, r.Method, r.GPTQ, r.Precision, t.key(), chunks)); err != nil {
		return nil, err
	}
	if text != nil {
		if err := r.walk(ctx, m, text, t, c); err != nil {
			return nil, err
		}
	}
	_, own := t.(*blocks)
	if r.Method == HQQ || r.Method != GPTQ && !own {
		if err := r.alone(ctx, m, t, c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// suits reports whether a method has something to round.
func (m *Model) suits(t Target, method Method) bool {
	for i := range m.Tensors {
		x := &m.Tensors[i]
		if s, ok := t.scheme(x); ok && (method != GPTQ || layerWeight(x)) && (method != HQQ || !s.Symmetric) {
			return true
		}
	}
	return method == AWQ || method == Nearest
}

// widest is the most columns of a layer's matrix.
func (m *Model) widest() (cols int) {
	for i := range m.Tensors {
		if x := &m.Tensors[i]; layerWeight(x) && quantizable(x) {
			cols = max(cols, x.Cols())
		}
	}
	return cols
}

// walk runs the model on a text.
func (r *Recipe) walk(ctx context.Context, m *Model, text *Text, t Target, c *Calibrated) error {
	w, err := newWalk(m, text, r)
	if err != nil {
		return err
	}
	out := &rounder{walk: w, recipe: r, target: t, work: c.work}
	f := out.look
	switch r.Method {
	case GPTQ:
		f = out.enter
	case AWQ:
		f = out.search
	}
	if cols := m.widest(); cols > text.Tokens() && r.Method != Nearest {
		r.note("%s has %d tokens, and matrices have up to %d columns: what it tells of them is little; give a longer text", text.Name, text.Tokens(), cols)
	}
	if n := c.work.state.Next; n > 0 {
		r.note("%s: continuing an interrupted run at stage %d of %d", r.Work, n, len(w.stages))
	}
	if err := w.run(ctx, c.work.state.Next, f, c.work.reached); err != nil {
		return err
	}
	if c.Importance, err = c.work.importance(); err != nil {
		return err
	}
	switch r.Method {
	case AWQ:
		return out.applyAll()
	case GPTQ:
		c.paths, err = c.work.results()
	}
	return err
}

// alone rounds each matrix by itself: by HQQ, or to nearest.
func (r *Recipe) alone(ctx context.Context, m *Model, t Target, c *Calibrated) error {
	for i := range m.Tensors {
		x := &m.Tensors[i]
		s, ok := t.scheme(x)
		if !ok || r.Method == HQQ && s.Symmetric {
			continue
		}
		path := c.work.tensor(i)
		c.paths = append(c.paths, path)
		if _, err := os.Stat(path); err == nil {
			continue
		}
		q, err := r.round(ctx, x, s, c.Importance)
		if err == nil {
			err = whole.Write(path, t.pack([]rounded{{x, q}}))
		}
		if err != nil {
			return fmt.Errorf("tensor %q: %w", x.Name, err)
		}
		if r.Progress != nil {
			r.Progress(i+1, len(m.Tensors))
		}
	}
	return nil
}

func (r *Recipe) round(ctx context.Context, x *Tensor, s weight.Scheme, im *Importance) (*weight.Quantized, error) {
	w := matrixOfTensor(x, r.Pool)
	if r.Method == HQQ {
		return weight.HQQ(ctx, w, s, r.Pool)
	}
	o := weight.RTNOptions{Clip: r.GPTQ.Clip}
	var err error
	if o.Importance, err = im.of(x); err != nil {
		return nil, err
	}
	o.Importance = scaled(o.Importance, x.columns)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return weight.RTN(w, s, o, r.Pool)
}

// Rounded opens the rounded tensors of a GGUF file, by name. They are valid until Close.
func (c *Calibrated) Rounded() (map[string]Tensor, error) {
	all := map[string]Tensor{}
	for _, path := range c.paths {
		f, err := gguf.Open(path)
		if err != nil {
			return nil, err
		}
		c.files = append(c.files, f)
		for i := range f.Tensors {
			t, err := fromGGUF(&f.Tensors[i])
			if err != nil {
				return nil, err
			}
			all[t.Name] = t
		}
	}
	return all, nil
}

// Close lets go of the work folder's files, and removes the folder if the output
// has all of it.
func (c *Calibrated) Close(complete bool) error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.Close())
	}
	c.files = nil
	if complete {
		errs = append(errs, c.work.remove())
	}
	return errors.Join(errs...)
}
