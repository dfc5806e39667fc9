package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

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
	Value  string  `json:"value"` // of the reference
	Node   string  `json:"node"`  // of the reference, which makes it
	Op     string  `json:"op"`
	SQNR   float64 `json:"sqnr_db"` // signal-to-quantization-noise ratio; +Inf is written as 999
	Cosine float64 `json:"cosine"`
	Max    float64 `json:"max_abs_diff"`
}

// Compare runs a model as it is optimized and a reference without optimization
// on the same samples, and compares every float32 value that both have in common
// (see common). At a time it holds such values of one sample.
func Compare(ctx context.Context, model, reference string, s Samples, o engine.Options) (*Comparison, error) {
	got, err := onnx.Load(model)
	if err != nil {
		return nil, err
	}
	defer got.Close()
	want, err := onnx.Load(reference)
	if err != nil {
		return nil, fmt.Errorf("the reference: %w", err)
	}
	defer want.Close()
	if _, err := pass.Run(got.Graph, passes.All, pass.Options{Level: o.Level, Off: o.Off, Pool: o.Pool, Precision: o.Precision}); err != nil {
		return nil, err
	}
	if _, err := pass.Run(want.Graph, passes.All, pass.Options{Level: 0}); err != nil {
		return nil, fmt.Errorf("the reference: %w", err)
	}
	c := &Comparison{Model: model, Reference: reference}
	c.Values, err = CompareGraphs(ctx, got.Graph, want.Graph, s, exec.Options{Pool: o.Pool, Provider: o.Provider, Precision: o.Precision})
	if errors.Is(err, errNothingCommon) {
		err = fmt.Errorf("%s and %s %w", model, reference, err)
	}
	return c, err
}

var errNothingCommon = errors.New("have no value in common: names or shapes differ everywhere")

// CompareGraphs runs two graphs, whose types are inferred, on the same samples.
func CompareGraphs(ctx context.Context, got, want *ir.Graph, s Samples, o exec.Options) ([]Difference, error) {
	pairs := common(got, want)
	gotValues, wantValues := make([]*ir.Value, len(pairs)), make([]*ir.Value, len(pairs))
	for i, p := range pairs {
		gotValues[i], wantValues[i] = p.got, p.want
	}
	a, b := NewProbe(got, gotValues, o), NewProbe(want, wantValues, o)
	defer a.Close()
	defer b.Close()
	for i := range s.Len() {
		in, err := s.At(ctx, i)
		if err != nil {
			return nil, err
		}
		x, _, err := a.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		y, _, err := b.Run(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("the reference: %w", err)
		}
		for j := range pairs {
			pairs[j].add(x[j], y[j])
		}
	}
	var values []Difference
	for _, p := range pairs {
		if n := p.want.Producer; !p.apart {
			values = append(values, Difference{Value: p.name, Node: n.Name, Op: n.FullName(), SQNR: p.SQNR(), Cosine: p.Cosine(), Max: p.MaxAbs()})
		}
	}
	if len(values) == 0 {
		return nil, errNothingCommon
	}
	return values, nil
}

func (p *pair) add(got, want *tensor.Tensor) {
	p.apart = p.apart || !slices.Equal(got.Shape, want.Shape)
	if !p.apart {
		p.Add(p.floats(got), tensor.Of[float32](want))
	}
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

// NothingCommon reports whether a comparison failed since the models have no names in common.
func NothingCommon(err error) bool { return errors.Is(err, errNothingCommon) }
