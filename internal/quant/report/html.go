package report

import (
	_ "embed"
	"encoding/json"
	"html"
	"io"
	"slices"
	"strings"

	"github.com/salver-ml/salver/internal/quant/calib"
)

//go:embed page.html
var page string

// pageBins is how many bars a page draws of a histogram, at most.
const pageBins = 256

// HTML writes one page that needs nothing else: the data are in it.
func (r *Report) HTML(w io.Writer) error {
	short := *r
	short.Layers = slices.Clone(r.Layers)
	for i := range short.Layers {
		short.Layers[i].Histogram = coarse(short.Layers[i].Histogram)
	}
	data, err := json.Marshal(&short) // escapes <, > and &
	if err != nil {
		return err
	}
	_, err = strings.NewReplacer("{{.Title}}", html.EscapeString(r.Model), "{{.Data}}", string(data)).WriteString(w, page)
	return err
}

// coarse joins neighbouring bins.
func coarse(h *calib.Histogram) *calib.Histogram {
	if h == nil || len(h.Counts) <= pageBins {
		return h
	}
	each := (len(h.Counts) + pageBins - 1) / pageBins
	width := (h.Max - h.Min) / float64(len(h.Counts))
	c := &calib.Histogram{Min: h.Min}
	for bins := range slices.Chunk(h.Counts, each) {
		sum := uint64(0)
		for _, n := range bins {
			sum += n
		}
		c.Counts = append(c.Counts, sum)
	}
	c.Max = h.Min + width*float64(each*len(c.Counts))
	return c
}
