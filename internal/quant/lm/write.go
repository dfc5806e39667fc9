package lm

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/format/gguf"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/report"
)

// Options says how a GGUF file is to be made.
type Options struct {
	Mix       Mix
	Overrides []Override    // the first that matches counts
	Output    *block.Format // of the last product, if it is to have another than the mix's
	Embedding *block.Format
	Pure      bool // the mix's base for all
	// Requantize allows a source whose weights were rounded before.
	Requantize bool
	// Importance weighs the columns of matrices; nil: all alike.
	Importance *Importance
	// Rounded are tensors that were rounded already, by their names.
	Rounded map[string]Tensor
	Pool    *pool.Pool
	// Progress is told how many elements of all are done; nil: nobody is.
	Progress func(done, all int64)
}

// plan is what becomes of a tensor.
type plan struct {
	*Tensor
	format     block.Format
	reason     string
	importance []float32 // by column, those of each expert after those of the one before
	signal     float64   // Σ w²
	noise      float64   // Σ (w - ŵ)²
}

// Write rounds the model's tensors and writes them to w as a GGUF file, row by
// row. What was written before an error is no valid file. It changes m's metadata.
func Write(ctx context.Context, m *Model, w io.Writer, o Options) (*report.Report, error) {
	plans, r, err := m.plan(&o)
	if err != nil {
		return nil, err
	}
	m.set("general.quantization_version", uint32(2))
	m.set("general.file_type", o.Mix.file)
	if o.Importance != nil {
		o.Importance.describe(m)
	}
	var done, all int64
	for i := range plans {
		all += int64(plans[i].Elems())
	}
	e := &encoder{ctx: ctx, pool: o.Pool, progress: func(n int) {
		done += int64(n)
		if o.Progress != nil {
			o.Progress(done, all)
		}
	}}
	sources := make([]gguf.Source, len(plans))
	for i := range plans {
		p := &plans[i]
		sources[i] = gguf.Source{Name: p.Name, Format: p.format, Shape: p.Shape, WriteTo: func(w io.Writer) error {
			defer m.release()
			return e.write(w, p)
		}}
	}
	if err := gguf.Write(w, m.Pairs, sources); err != nil {
		return nil, err
	}
	for i := range plans {
		p := &plans[i]
		r.Layers = append(r.Layers, report.Layer{Name: p.Name, Op: "weight", Precision: strings.ToUpper(p.format.String()), Reason: p.reason,
			Bits: 8 * float64(bytesAs(p.Tensor, p.format)) / float64(p.Elems()), SQNR: report.Decibels(p.signal, p.noise)})
	}
	return r, nil
}

// plan chooses the formats, and refuses what cannot be done before anything is written.
func (m *Model) plan(o *Options) ([]plan, *report.Report, error) {
	r := &report.Report{Model: m.Path, Method: o.Mix.Name, Warnings: slices.Clone(m.Warnings)}
	c := newChooser(m, o.Mix, o)
	plans := make([]plan, len(m.Tensors))
	unweighed := 0
	for i := range m.Tensors {
		t := &m.Tensors[i]
		p := &plans[i]
		p.Tensor = t
		if rounded, ok := o.Rounded[t.Name]; ok {
			p.Tensor, p.format, p.reason = &rounded, rounded.Format, "rounded with calibration data"
		} else {
			p.format, p.reason = c.format(t)
		}
		r.BytesBefore += t.Bytes()
		r.BytesAfter += bytesAs(t, p.format)
		if p.format == p.Format {
			continue
		}
		if !t.Format.Decodes() {
			return nil, nil, fmt.Errorf("%s: tensor %q is %v, which cannot be read as numbers", m.Path, t.Name, t.Format)
		}
		if !isFloat(t.Format) && !o.Requantize {
			return nil, nil, fmt.Errorf("%s: tensor %q is %v already: rounding it again adds errors; take the original model, or allow it with --allow-requantize", m.Path, t.Name, t.Format)
		}
		var err error
		if p.importance, err = o.Importance.of(t); err != nil {
			return nil, nil, err
		}
		p.importance = scaled(p.importance, t.columns)
		if o.Importance != nil && p.importance == nil && quantizable(t) && !strings.HasPrefix(t.Name, "token_embd") && t.Name != "output.weight" {
			unweighed++
		}
	}
	if unweighed > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("the importance matrix says nothing of %d matrices: their columns count alike", unweighed))
	}
	for i := range o.Overrides {
		v := &o.Overrides[i]
		if !slices.ContainsFunc(m.Tensors, func(t Tensor) bool { return v.matches(t.Name) }) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("no tensor is called %s: no format was changed by it", v.Pattern))
		}
	}
	return plans, r, nil
}

// scaled is the importance of columns that were multiplied, as their inputs were
// divided.
func scaled(importance, columns []float32) []float32 {
	if importance == nil || columns == nil {
		return importance
	}
	out := slices.Clone(importance)
	for i := range out {
		c := columns[i%len(columns)]
		out[i] /= c * c
	}
	return out
}

// encoder turns rows into blocks on all threads.
type encoder struct {
	ctx      context.Context
	pool     *pool.Pool
	progress func(elems int)
	buffer   []byte
}

// windowElems is about how many elements are encoded between two writes,
// chunkElems how many one thread takes at a time.
const (
	windowElems = 1 << 23
	chunkElems  = 1 << 16
)

// write writes a tensor in its new format.
func (e *encoder) write(w io.Writer, p *plan) error {
	cols, rows := p.Cols(), p.Rows()
	size, err := p.format.RowBytes(cols)
	if err != nil {
		return err
	}
	window := max(windowElems/cols, 1)
	for from := 0; from < rows; from += window {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		n := min(window, rows-from)
		if cap(e.buffer) < n*size {
			e.buffer = make([]byte, n*size)
		}
		c := &chunks{plan: p, from: from, rows: n, each: max(chunkElems/cols, 1), size: size, out: e.buffer[:n*size]}
		count := (n + c.each - 1) / c.each
		c.parts = make([]part, count)
		e.pool.Run(count, c)
		for i := range c.parts {
			if c.parts[i].bad >= 0 {
				return fmt.Errorf("row %d has numbers that are not finite or too large for %v: the model is damaged", c.parts[i].bad, p.format)
			}
			p.signal += c.parts[i].signal
			p.noise += c.parts[i].noise
		}
		if _, err := w.Write(c.out); err != nil {
			return err
		}
		e.progress(n * cols)
	}
	return nil
}

// chunks are rows of a tensor that are encoded together.
type chunks struct {
	*plan
	from, rows, each int // each: rows of a chunk
	size             int // bytes of a row
	out              []byte
	parts            []part
}

type part struct {
	signal, noise float64
	bad           int // a row that cannot be encoded, or -1
}

// Do encodes chunk i.
func (c *chunks) Do(i int) {
	a := &c.parts[i]
	a.bad = -1
	row, back := make([]float32, c.Cols()), make([]float32, c.Cols())
	for r := i * c.each; r < min((i+1)*c.each, c.rows); r++ {
		out := c.out[r*c.size : (r+1)*c.size]
		if c.format == c.Format && c.plain() {
			copy(out, c.Row(c.from+r))
			continue
		}
		c.Decode(row, c.from+r)
		block.EncodeWeighted(c.format, out, row, c.weights(c.from+r))
		block.Decode(c.format, back, out)
		signal, noise := squares(row, back)
		if math.IsNaN(noise) || math.IsInf(noise, 0) {
			a.bad = c.from + r
			return
		}
		a.signal += signal
		a.noise += noise
	}
}

// weights is the importance of the columns of a row.
func (p *plan) weights(row int) []float32 {
	cols := p.Cols()
	if p.importance == nil {
		return nil
	}
	stack := len(p.importance) / cols // experts
	at := row / (p.Rows() / stack) * cols
	return p.importance[at : at+cols]
}

// squares are Σ x² and Σ (x - y)².
func squares(x, y []float32) (signal, noise float64) {
	for i, v := range x {
		d := float64(v) - float64(y[i])
		signal += float64(v) * float64(v)
		noise += d * d
	}
	return signal, noise
}
