package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/format/onnx"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/tensor"
)

// Auto lets Load choose the precision: the fastest one whose answers to samples
// stay within a bound of fp32's.
type Auto struct {
	// MaxError bounds the largest deviation of an output's element, relative to
	// the largest magnitude in that output. Outputs that are not floats must be equal.
	MaxError float64
	// Samples gives inputs in the graph's order, one or more sets.
	Samples func(*ir.Graph) ([][]*tensor.Tensor, error)
	Report  func(*Choice) // is told what was chosen; may be nil
}

// Choice is what Auto found.
type Choice struct {
	Bound      float64     `json:"max_error"`
	Samples    int         `json:"samples"`
	Candidates []Candidate `json:"candidates"` // fp32 first
	Chosen     string      `json:"chosen"`
}

// Candidate is one precision with its figures.
type Candidate struct {
	Precision string  `json:"precision"`
	Refused   string  `json:"refused,omitempty"` // why it was not tried
	Error     float64 `json:"error"`             // the largest over outputs and samples
	Seconds   float64 `json:"seconds"`           // the samples' best times together
}

// String says what was chosen, with what error and gain.
func (c *Choice) String() string {
	text := fmt.Sprintf("precision auto: %s (bound %.3g, %d samples)", c.Chosen, c.Bound, c.Samples)
	for _, x := range c.Candidates {
		switch {
		case x.Refused != "":
			text += fmt.Sprintf("; %s: %s", x.Precision, x.Refused)
		case x.Precision != c.Candidates[0].Precision:
			text += fmt.Sprintf("; %s: error %.3g, %.2f times as fast as %s", x.Precision, x.Error, c.Candidates[0].Seconds/x.Seconds, c.Candidates[0].Precision)
		}
	}
	return text
}

// precisions are the candidates of Auto, the reference first.
var precisions = []op.Precision{op.FP32, op.BF16}

// chooseFrom prepares the model in each precision and keeps the best.
func chooseFrom(read func() (*onnx.Model, error), o Options) (*Engine, error) {
	auto := o.Auto
	o.Auto = nil
	c := &Choice{Bound: auto.MaxError}
	var best *Engine
	var bestTime float64
	var reference [][]*tensor.Tensor
	for _, p := range precisions {
		x := Candidate{Precision: p.String()}
		if err := p.Available(); err != nil {
			x.Refused = err.Error()
			c.Candidates = append(c.Candidates, x)
			continue
		}
		if reference != nil && !tell(reference) {
			x.Refused = "the samples tell nothing about errors, since all answers to them are zeros or NaN"
			c.Candidates = append(c.Candidates, x)
			continue
		}
		o.Precision = p
		e, err := open(read, o)
		if err != nil {
			return nil, errors.Join(err, closeEngine(best))
		}
		outputs, seconds, err := auto.try(e)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("precision auto: %w", err), e.Close(), closeEngine(best))
		}
		x.Seconds = seconds
		if reference == nil {
			reference, c.Samples = outputs, len(outputs)
		} else {
			x.Error = Deviation(outputs, reference)
		}
		c.Candidates = append(c.Candidates, x)
		worse := e
		if best == nil || x.Error <= auto.MaxError && seconds < bestTime {
			worse, best, bestTime = best, e, seconds
		}
		if err := closeEngine(worse); err != nil {
			return nil, errors.Join(err, best.Close())
		}
	}
	c.Chosen = best.precision.String()
	best.Choice = c
	if auto.Report != nil {
		auto.Report(c)
	}
	return best, nil
}

func closeEngine(e *Engine) error {
	if e == nil {
		return nil
	}
	return e.Close()
}

// tries is how often each sample is timed.
const tries = 5

// try runs the samples and sums their best times.
func (a *Auto) try(e *Engine) (outputs [][]*tensor.Tensor, seconds float64, err error) {
	samples, err := a.Samples(e.Graph())
	if err != nil {
		return nil, 0, err
	}
	if len(samples) == 0 {
		return nil, 0, errors.New("there are no samples to compare precisions on")
	}
	for _, in := range samples {
		out, err := e.Run(context.Background(), in)
		if err != nil {
			return nil, 0, err
		}
		outputs = append(outputs, out)
		best := math.Inf(1)
		for range tries {
			start := time.Now()
			if _, err := e.Run(context.Background(), in); err != nil {
				return nil, 0, err
			}
			best = min(best, time.Since(start).Seconds())
		}
		seconds += best
	}
	return outputs, seconds, nil
}

// Deviation is the largest deviation of all outputs of all samples, each
// relative to the output's largest magnitude; infinite where outputs that are
// not floats differ.
func Deviation(got, want [][]*tensor.Tensor) float64 {
	worst := 0.
	for s := range want {
		for i := range want[s] {
			worst = max(worst, apart(got[s][i], want[s][i]))
		}
	}
	return worst
}

// tell reports whether a deviation from these outputs means something: whether a number
// among them is neither zero nor NaN.
func tell(outputs [][]*tensor.Tensor) bool {
	for _, out := range outputs {
		for _, t := range out {
			if !t.DType.IsFloat() {
				return true
			}
			for _, v := range num.Floats(t) {
				if math.Abs(v) > 0 {
					return true
				}
			}
		}
	}
	return false
}

// apart is the largest deviation relative to the largest magnitude; infinite for
// what has to be equal and is not.
func apart(got, want *tensor.Tensor) float64 {
	switch {
	case got.DType != want.DType || !slices.Equal(got.Shape, want.Shape):
		return math.Inf(1)
	case want.DType == dtype.Float32:
		return deviation(tensor.Of[float32](got), tensor.Of[float32](want))
	case want.DType.IsFloat():
		return deviation(num.Floats(got), num.Floats(want))
	case slices.Equal(got.Data, want.Data) && slices.Equal(got.Strings, want.Strings):
		return 0
	}
	return math.Inf(1)
}

func deviation[T float32 | float64](got, want []T) float64 {
	worst, largest := 0., 0.
	for i, w := range want {
		a, b := float64(got[i]), float64(w)
		if a == b || math.IsNaN(a) && math.IsNaN(b) {
			continue
		}
		if d := math.Abs(a - b); d >= 0 { // NaN is not
			worst = max(worst, d)
		} else {
			return math.Inf(1)
		}
	}
	for _, w := range want {
		if m := math.Abs(float64(w)); m > largest && !math.IsInf(m, 0) {
			largest = m
		}
	}
	if worst == 0 {
		return 0
	}
	return worst / largest
}
