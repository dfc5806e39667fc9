package report

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/quant/calib"
)

// A page holds its data, escaped, and no more of a histogram than it draws.
func TestHTML(t *testing.T) {
	r := &Report{Model: "</script><b>.onnx", Layers: []Layer{{Name: "conv", Op: "Conv", Precision: "int8", SQNR: 40, Histogram: &calib.Histogram{Max: 1, Counts: make([]uint64, 5000)}}}}
	r.Layers[0].Histogram.Counts[4999] = 7
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.Count(text, "</script>") != 1 || !strings.Contains(text, `"name":"conv"`) || strings.Contains(text, "{{.") || len(text) > len(page)+2000 {
		t.Errorf("%d bytes", len(text))
	}
	if len(r.Layers[0].Histogram.Counts) != 5000 {
		t.Error("the report was changed")
	}
}

func TestCoarse(t *testing.T) {
	h := &calib.Histogram{Min: -1, Max: 1, Counts: make([]uint64, 1000)}
	for i := range h.Counts {
		h.Counts[i] = uint64(i)
	}
	c := coarse(h)
	sum := uint64(0)
	for _, n := range c.Counts {
		sum += n
	}
	if len(c.Counts) > pageBins || sum != 999*500 || c.Min != -1 || math.Abs((c.Max-c.Min)/float64(len(c.Counts))-.008) > 1e-12 {
		t.Errorf("%d bins, %d values, %g to %g", len(c.Counts), sum, c.Min, c.Max)
	}
	if few := coarse(&calib.Histogram{Counts: make([]uint64, 3)}); len(few.Counts) != 3 || coarse(nil) != nil {
		t.Error("what is short is changed")
	}
}
