package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/tensor"
)

// Comparison holds the values that two models have in common.
type Comparison struct {
	Model     string       `json:"model"`
	Reference string       `json:"reference"`
	Values    []Difference `json:"values"` // in the order in which the model computes them
}

// Difference is how far a value is from the reference's value of that name.
type Difference struct {
	Value string  `json:"value"`
	Node  string  `json:"node"`
	Op    string  `json:"op"`
	SQNR  float64 `json:"sqnr_db"` // signal-to-quantization-noise ratio; +Inf is written as 999
	Max   float64 `json:"max_abs_diff"`
}

// exact stands for an infinite ratio, which JSON cannot hold.
const exact = 999

// Compare runs a model as it is optimized and a reference without optimization
// on the same inputs, and compares every float32 value that both have under one
// name. Names that passes have made count as the names they came from.
func Compare(ctx context.Context, model, reference string, in []*tensor.Tensor, o engine.Options) (*Comparison, error) {
	got, order, err := allValues(ctx, model, in, o)
	if err != nil {
		return nil, err
	}
	o.Level = 0
	want, _, err := allValues(ctx, reference, in, o)
	if err != nil {
		return nil, fmt.Errorf("the reference: %w", err)
	}
	c := &Comparison{Model: model, Reference: reference}
	for _, v := range order {
		g, w := got[v.Name], want[v.Name]
		if w == nil {
			w = want[stem(v.Name)]
		}
		if w == nil || !slices.Equal(g.Shape, w.Shape) {
			continue
		}
		d := Difference{Value: v.Name, Node: v.Producer.Name, Op: v.Producer.FullName()}
		d.SQNR, d.Max = sqnr(tensor.Of[float32](g), tensor.Of[float32](w))
		c.Values = append(c.Values, d)
	}
	if len(c.Values) == 0 {
		return nil, fmt.Errorf("%s and %s have no value in common: names or shapes differ everywhere", model, reference)
	}
	return c, nil
}

// stem undoes the numbering of names by the pass driver.
func stem(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i > 0 && strings.Trim(name[i+1:], "0123456789") == "" {
		return name[:i]
	}
	return name
}

// allValues runs a model with every float32 value as an output.
func allValues(ctx context.Context, file string, in []*tensor.Tensor, o engine.Options) (map[string]*tensor.Tensor, []*ir.Value, error) {
	m, err := onnx.Load(file)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	g := m.Graph
	if _, err := pass.Run(g, passes.All, pass.Options{Level: o.Level, Off: o.Off}); err != nil {
		return nil, nil, err
	}
	names := make([]string, len(g.Outputs)) // an output counts under the caller's name
	for i, out := range g.Outputs {
		names[i] = out.Name
	}
	values := make([]*ir.Value, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			if v != nil && v.Type.DType == dtype.Float32 {
				values = append(values, v)
			}
		}
	}
	known := len(g.Outputs)
	for _, v := range values {
		g.AddOutput(v.Name, v)
	}
	s := exec.New(g, exec.Options{Pool: o.Pool, Provider: o.Provider})
	defer s.Close()
	out, err := s.Run(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	named := map[string]*tensor.Tensor{}
	for i, v := range values {
		named[v.Name] = out[known+i].Clone()
	}
	for i, name := range names {
		if out[i].DType == dtype.Float32 {
			named[name] = out[i].Clone()
		}
	}
	return named, values, nil
}

// sqnr is 10·log10(Σ want² / Σ (got − want)²) and the largest difference.
func sqnr(got, want []float32) (db, largest float64) {
	var signal, noise float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		signal += float64(w) * float64(w)
		noise += d * d
		largest = max(largest, math.Abs(d))
	}
	switch {
	case noise == 0:
		return exact, 0
	case signal == 0:
		return -exact, largest
	}
	return 10 * math.Log10(signal/noise), largest
}

// Report writes the comparison: as JSON whole, for people the values below a
// threshold in dB, the first of them first.
func (c *Comparison) Report(w io.Writer, asJSON bool, threshold float64) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(c)
	}
	worst, below := c.Values[0], 0
	for _, d := range c.Values {
		if d.SQNR < worst.SQNR {
			worst = d
		}
		if d.SQNR >= threshold {
			continue
		}
		if below++; below == 1 {
			fmt.Fprintf(w, "first below %.0f dB: ", threshold)
		}
		if below <= 20 {
			fmt.Fprintf(w, "%s %q: value %q: %.1f dB, off by %.3g at most\n", d.Op, d.Node, d.Value, d.SQNR, d.Max)
		}
	}
	_, err := fmt.Fprintf(w, "%d values compared, %d below %.0f dB; the worst is %q with %.1f dB\n", len(c.Values), below, threshold, worst.Value, worst.SQNR)
	return err
}
