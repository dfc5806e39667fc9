package conformance

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// Status is the outcome of a case.
type Status string

// The outcomes.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
)

// Result is the outcome of one case with the reason where it did not pass.
type Result struct {
	Name     string        `json:"name"`
	Category string        `json:"category,omitempty"`
	Status   Status        `json:"status"`
	Reason   string        `json:"reason,omitempty"`
	Time     time.Duration `json:"time_ns"`
}

// Options chooses cases and how they run.
type Options struct {
	Engine   engine.Options
	Category string // only cases of this category; "" is all
	Filter   string // only cases whose name contains it
	Timeout  time.Duration
}

// Run runs every case below a folder or in a zip and reports each.
func Run(ctx context.Context, file string, o Options, report func(Result)) error {
	src, err := open(file)
	if err != nil {
		return err
	}
	defer src.close()
	if o.Category != "" && src.manifest == nil {
		return fmt.Errorf("%s: no manifest.tsv beside it, which would say what is of category %q", file, o.Category)
	}
	cases, err := find(src)
	if err != nil {
		return err
	}
	if len(cases) == 0 {
		return fmt.Errorf("%s: no cases found: expected SUITE/CASE/model.onnx with test_data_set_*, X.onnx with X.onnx.golden.npz or X_output_0.pb, or models with meta.json", file)
	}
	for _, c := range cases {
		if o.Category != "" && c.Category != o.Category || !strings.Contains(c.Name, o.Filter) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		start := time.Now()
		r := runCase(ctx, c, o)
		r.Time = time.Since(start)
		report(r)
	}
	return nil
}

// runCase guards against a case that hangs: its goroutine is then left behind.
func runCase(ctx context.Context, c *Case, o Options) Result {
	if reason := skipReason(c); reason != "" {
		return Result{Name: c.Name, Category: c.Category, Status: Skipped, Reason: reason}
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		done <- c.check(ctx, o.Engine)
	}()
	r := Result{Name: c.Name, Category: c.Category, Status: Passed}
	select {
	case err := <-done:
		if err != nil {
			r.Status, r.Reason = Failed, err.Error()
		}
		if leftOut(err) {
			r.Status = Skipped
		}
	case <-ctx.Done():
		r.Status, r.Reason = Failed, fmt.Sprintf("no answer after %v", o.Timeout)
	}
	return r
}

// leftOut reports whether a model needs nothing that is missing, but operators
// that are left out on purpose.
func leftOut(err error) bool {
	var u *onnx.UnsupportedError
	return errors.As(err, &u) && u.Refused == len(u.Nodes)
}

func skipReason(c *Case) string {
	switch {
	case c.lacks != "":
		return c.lacks
	case c.Category == "training":
		return "training operators are out of scope"
	case c.Category == "other-domain":
		return "ai.onnx.preview operators are out of scope"
	}
	return ""
}

func (c *Case) check(ctx context.Context, o engine.Options) error {
	m, err := onnx.LoadFS(c.fsys, c.model)
	if err != nil {
		return err
	}
	r := c.rule
	if r.diff > 0.01 && r.kind == goldenRule && isRandom(m.Graph) || r.kind != int8Rule && isRandom(m.Graph) {
		r.kind = randomRule
	}
	r.half = r.kind != backendRule && usesHalf(m.Graph) || o.Precision == op.BF16
	type data struct {
		in  []*tensor.Tensor
		out map[string]*tensor.Tensor
	}
	var sets []data // read before passes may rename anything
	for _, s := range c.sets {
		in, out, err := s.read(c.fsys, m.Graph)
		if err != nil {
			return fmt.Errorf("%s: %w", setName(s), err)
		}
		sets = append(sets, data{in, out})
	}
	e, err := engine.LoadFS(c.fsys, c.model, o)
	if err != nil {
		return err
	}
	defer e.Close()
	for i, s := range sets {
		got, err := e.Run(ctx, s.in)
		if err != nil {
			return fmt.Errorf("%s: %w", setName(c.sets[i]), err)
		}
		for j, out := range e.Graph().Outputs {
			want, ok := s.out[out.Name]
			if !ok {
				continue
			}
			if err := r.compare(got[j], want); err != nil {
				return fmt.Errorf("%s: output %q: %w", setName(c.sets[i]), out.Name, err)
			}
		}
	}
	return nil
}

func setName(s set) string {
	switch s := s.(type) {
	case backendSet:
		return path.Base(s.dir)
	case goldenSet:
		return path.Base(s.file)
	case lightSet:
		return path.Base(s.prefix)
	}
	return ""
}

// isRandom reports whether the graph draws random numbers without a seed that
// others share: no two engines give the same.
func isRandom(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		if o := op.Of(n); o != nil && o.Random {
			return true
		}
		return slices.ContainsFunc(n.Subgraphs(), isRandom)
	})
}

// usesHalf reports whether any value of the graph is a 16-bit float.
func usesHalf(g *ir.Graph) bool {
	half := func(v *ir.Value) bool {
		return v != nil && (v.Type.DType == dtype.Float16 || v.Type.DType == dtype.BFloat16)
	}
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		return slices.ContainsFunc(n.In, half) || slices.ContainsFunc(n.Out, half) || slices.ContainsFunc(n.Subgraphs(), usesHalf)
	})
}
