package calib

import (
	"fmt"
	"math"
	"strings"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant"
)

// Methods are the calibrators that New makes.
var Methods = []string{"minmax", "percentile", "entropy", "mse", "distribution"}

// Options of observers. The zero value is what is usual.
type Options struct {
	// MovingAverage, of minmax, is the weight of a new sample's extremes; 0
	// takes the extremes of all samples. PyTorch and ONNX Runtime use 0.01.
	MovingAverage float64
	// Percentile is the part of all values, in percent, whose magnitudes the
	// range reaches. 0 stands for 99.999.
	Percentile float64
	// Histogram keeps one for reports with minmax too, which needs none.
	Histogram bool
	// Bins bounds the bins of a histogram; at least half as many are in use.
	// 0 stands for 8192.
	Bins int
}

// The defaults of Options and the least number of bins.
const (
	defaultPercentile = 99.999
	defaultBins       = 8192
	leastBins         = 2048
	mostBins          = 1 << 20
)

// New makes an observer for one tensor; method is one of Methods.
func New(method string, o Options) (Observer, error) {
	if o.Percentile == 0 {
		o.Percentile = defaultPercentile
	}
	if o.Bins == 0 {
		o.Bins = defaultBins
	}
	switch {
	case !(o.Percentile > 50 && o.Percentile <= 100):
		return nil, fmt.Errorf("percentile %g: expected more than 50 and at most 100", o.Percentile)
	case !(o.MovingAverage >= 0 && o.MovingAverage <= 1):
		return nil, fmt.Errorf("moving average: the weight of a new sample is %g: expected 0 to 1", o.MovingAverage)
	case o.Bins < leastBins || o.Bins > mostBins:
		return nil, fmt.Errorf("histogram of %d bins: expected %d to %d", o.Bins, leastBins, mostBins)
	}
	h := stream{limit: o.Bins}
	switch method {
	case "minmax":
		m := minmax{weight: o.MovingAverage}
		if o.Histogram {
			return &counted{m, h}, nil
		}
		return &m, nil
	case "percentile":
		return &percentile{stream: h, keep: o.Percentile / 100}, nil
	case "entropy":
		return &cached{Observer: &entropy{stream: h, tops: h, cuts: h}}, nil
	case "mse":
		return &cached{Observer: &mse{h}}, nil
	case "distribution":
		return &distribution{stream: h}, nil
	}
	return nil, fmt.Errorf("calibrator %q: expected one of %s", method, strings.Join(Methods, ", "))
}

// cached remembers ranges that take a search, as a graph is quantized in many
// ways from one calibration.
type cached struct {
	Observer
	ranges map[target]quant.Range
}

// target is what a range is mapped to.
type target struct {
	dtype     dtype.Type
	symmetric bool
}

func (c *cached) Observe(x []float32) error {
	c.ranges = nil
	return c.Observer.Observe(x)
}

func (c *cached) Range(t dtype.Type, symmetric bool) (quant.Range, error) {
	to := target{t, symmetric}
	if r, ok := c.ranges[to]; ok {
		return r, nil
	}
	r, err := c.Observer.Range(t, symmetric)
	if err == nil {
		if c.ranges == nil {
			c.ranges = map[target]quant.Range{}
		}
		c.ranges[to] = r
	}
	return r, err
}

// errNothing is the error of ranges of tensors that were never seen.
func errNothing() error {
	return fmt.Errorf("no range: no value was seen; expected at least one sample")
}

// extremes gives the smallest and the largest of values, of which there is at
// least one.
func extremes(x []float32) (lo, hi float32, err error) {
	lo, hi = x[0], x[0]
	for i, v := range x {
		if v-v != 0 { // NaN, or an infinity
			return 0, 0, fmt.Errorf("value %d is %g: expected finite numbers", i, v)
		}
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi, nil
}

// minmax takes the extremes of all that was seen, or a moving average of each
// sample's.
type minmax struct {
	weight   float64
	seen     bool
	min, max float64
}

func (m *minmax) Observe(x []float32) error {
	if len(x) == 0 {
		return nil
	}
	l, h, err := extremes(x)
	if err != nil {
		return err
	}
	lo, hi := float64(l), float64(h)
	switch {
	case !m.seen:
		m.seen, m.min, m.max = true, lo, hi
	case m.weight > 0:
		m.min += float64(m.weight * (lo - m.min))
		m.max += float64(m.weight * (hi - m.max))
	default:
		m.min, m.max = math.Min(m.min, lo), math.Max(m.max, hi)
	}
	return nil
}

func (m *minmax) Range(dtype.Type, bool) (quant.Range, error) {
	if !m.seen {
		return quant.Range{}, errNothing()
	}
	return quant.Range{Min: m.min, Max: m.max}, nil
}

func (m *minmax) Histogram() *Histogram { return nil }

// counted is minmax with a histogram.
type counted struct {
	minmax
	counts stream
}

func (c *counted) Observe(x []float32) error {
	if err := c.minmax.Observe(x); err != nil {
		return err
	}
	return c.counts.Observe(x)
}

func (c *counted) Histogram() *Histogram { return c.counts.Histogram() }
