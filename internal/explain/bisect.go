package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sort"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/tensor"
)

// Culprit is the patch with which a model's outputs leave those of the model as it
// is in the file.
type Culprit struct {
	Model   string  `json:"model"`
	Patches int     `json:"patches"`          // that optimization makes in all
	Number  int     `json:"number,omitempty"` // of the patch; 0: none does
	Pass    string  `json:"pass,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	Output  string  `json:"output"`         // the one that is farthest off
	SQNR    float64 `json:"sqnr_db"`        // of that output, with the patch; +Inf is written as 999
	Before  float64 `json:"before_sqnr_db"` // without it
}

// Bisect finds the first patch with which an output falls below so many dB. It runs the
// model about log₂(patches) times, each time with fewer or more of the patches.
func Bisect(ctx context.Context, model string, in []*tensor.Tensor, o engine.Options, threshold float64) (*Culprit, error) {
	b := &bisection{ctx: ctx, model: model, in: in, o: o}
	var err error
	if b.want, _, err = b.run(0, 0); err != nil {
		return nil, err
	}
	db, output, report, err := b.measure(0)
	if err != nil {
		return nil, err
	}
	c := &Culprit{Model: model, Patches: countPatches(report), Output: output, SQNR: db, Before: Exact}
	if db >= threshold {
		return c, nil
	}
	c.Number = 1 + sort.Search(c.Patches-1, func(i int) bool {
		var d float64
		if err == nil {
			d, _, _, err = b.measure(i + 1)
		}
		return d < threshold
	})
	if err != nil {
		return nil, err
	}
	if c.SQNR, c.Output, _, err = b.measure(c.Number); err != nil {
		return nil, err
	}
	if c.Number > 1 {
		if c.Before, _, _, err = b.measure(c.Number - 1); err != nil {
			return nil, err
		}
	}
	for _, p := range report.Passes {
		for _, a := range p.Patches {
			if a.Number == c.Number {
				c.Pass, c.Reason = p.Name, a.Reason
			}
		}
	}
	return c, nil
}

func countPatches(r *pass.Report) (n int) {
	for _, p := range r.Passes {
		n += len(p.Patches)
	}
	return n
}

type bisection struct {
	ctx   context.Context
	model string
	in    []*tensor.Tensor
	o     engine.Options
	want  []named
}

// named is an output.
type named struct {
	name string
	t    *tensor.Tensor
}

// run computes the outputs with the first patches of a level; 0 is all.
func (b *bisection) run(level, most int) ([]named, *pass.Report, error) {
	m, err := onnx.Load(b.model)
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	report, err := pass.Run(m.Graph, passes.All, pass.Options{Level: level, Off: b.o.Off, Most: most, Pool: b.o.Pool, Precision: b.o.Precision})
	if err != nil {
		return nil, nil, err
	}
	s := exec.New(m.Graph, exec.Options{Pool: b.o.Pool, Provider: b.o.Provider, Precision: b.o.Precision})
	defer s.Close()
	out, err := s.Run(b.ctx, b.in)
	if err != nil {
		return nil, nil, fmt.Errorf("with %d patches: %w", most, err)
	}
	values := make([]named, len(out))
	for i, t := range out {
		values[i] = named{m.Graph.Outputs[i].Name, t.Clone()}
	}
	return values, report, nil
}

// measure gives the lowest ratio among the outputs with so many patches.
func (b *bisection) measure(most int) (db float64, output string, r *pass.Report, err error) {
	got, r, err := b.run(b.o.Level, most)
	if err != nil {
		return 0, "", nil, err
	}
	db = Exact
	for i, w := range b.want {
		d := ratio(got[i].t, w.t)
		if i == 0 || d < db {
			db, output = d, w.name
		}
	}
	return db, output, r, nil
}

// ratio is the SQNR of float32, and infinite or none of other types, which have to be equal.
func ratio(got, want *tensor.Tensor) float64 {
	switch {
	case got.DType != want.DType || !slices.Equal(got.Shape, want.Shape):
		return -Exact
	case got.DType == dtype.Float32:
		var t Tally
		t.Add(tensor.Of[float32](got), tensor.Of[float32](want))
		return t.SQNR()
	case slices.Equal(got.Data, want.Data) && slices.Equal(got.Strings, want.Strings):
		return Exact
	}
	return -Exact
}

// Report writes what was found.
func (c *Culprit) Report(w io.Writer, asJSON bool, threshold float64) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", " ")
		return enc.Encode(c)
	}
	if c.Number == 0 && c.SQNR == Exact {
		_, err := fmt.Fprintf(w, "none of %d patches changes an output\n", c.Patches)
		return err
	}
	if c.Number == 0 {
		_, err := fmt.Fprintf(w, "none of %d patches takes an output below %.0f dB; %q has %.1f dB with all\n", c.Patches, threshold, c.Output, c.SQNR)
		return err
	}
	_, err := fmt.Fprintf(w, "patch %d of %d, by pass %s (--passes -%s leaves it out), takes output %q from %.1f to %.1f dB:\n%s\n",
		c.Number, c.Patches, c.Pass, c.Pass, c.Output, c.Before, c.SQNR, c.Reason)
	return err
}
