package ptq

import (
	"fmt"
	"maps"
	"slices"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/quant/calib"
)

// flat watches whether an activation ever differed from the first of its values.
type flat struct {
	seen, varied bool
	value        float32
}

// observe takes in one sample's values.
func (f *flat) observe(x []float32) {
	if f.varied || len(x) == 0 {
		return
	}
	if !f.seen {
		f.seen, f.value = true, x[0]
	}
	f.varied = slices.ContainsFunc(x, func(v float32) bool { return v != f.value })
}

// mostFlat bounds the activations that warnings name.
const mostFlat = 5

// flatWarnings says which of the values that chose a range were one number in all samples, so
// that their ranges have no width. Most often the samples are wrong: a picture that was
// not read, an input that was left at zero.
func (c *Calibration) flatWarnings(values map[*ir.Value]calib.Observer) []string {
	found := map[string]string{}
	for v := range values {
		f := c.flat[v.Name]
		if f == nil || !f.seen || f.varied {
			continue
		}
		kind := "activation"
		if v.Producer == nil {
			kind = "input"
		}
		found[v.Name] = fmt.Sprintf("%s %q was %g everywhere in all %d samples: a range without width, which other values do not fit: check the samples", kind, v.Name, f.value, c.Samples)
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if len(list) == mostFlat {
			return append(list, fmt.Sprintf("so were %d more activations", len(found)-mostFlat))
		}
		list = append(list, found[name])
	}
	return list
}
