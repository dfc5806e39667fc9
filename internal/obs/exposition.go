package obs

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/salver-ml/salver/internal/serve"
)

// exposition holds the samples of each family as lines of Prometheus' text
// format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
type exposition map[*metric]*strings.Builder

// mostScrapes is how many scrapes are answered at once.
const mostScrapes = 4

// Handler answers /metrics: the server's metrics, and those of the process and the Go runtime.
func Handler(s Sources) http.Handler {
	places := make(chan struct{}, mostScrapes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are being answered; try again later", mostScrapes), http.StatusServiceUnavailable)
			return
		}
		o := s.collect()
		o.process()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		out := io.Writer(w)
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer z.Close()
			out = z
		}
		o.write(out)
	})
}

// write writes the families that have samples. An error means that the client is gone.
func (o exposition) write(w io.Writer) {
	for _, m := range slices.Concat(families, processFamilies) {
		if lines := o[m]; lines != nil {
			fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s", m.name, helpText.Replace(m.help), m.name, m.kind, lines)
		}
	}
}

var (
	helpText  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

// send adds a sample, with the values of the family's labels.
func (o exposition) send(m *metric, v float64, labels ...string) {
	o.line(m, "", m.pairs(labels), v)
}

// histogram adds the samples of a histogram.
func (o exposition) histogram(m *metric, h serve.HistogramSnapshot, labels ...string) {
	if len(h.Counts) == 0 { // nothing was observed
		h.Counts = make([]uint64, len(h.Bounds)+1)
	}
	pairs := m.pairs(labels)
	var n uint64
	for i, b := range h.Bounds {
		n += h.Counts[i]
		o.line(m, "_bucket", append(pairs, pair("le", number(b))), float64(n))
	}
	n += h.Counts[len(h.Bounds)]
	o.line(m, "_bucket", append(pairs, pair("le", "+Inf")), float64(n))
	o.line(m, "_sum", pairs, h.Sum)
	o.line(m, "_count", pairs, float64(n))
}

// pairs are a sample's labels in the order of their names.
func (m *metric) pairs(values []string) []string {
	all := make([]string, len(values), len(values)+1)
	for i, v := range values {
		all[i] = pair(m.labels[i], v)
	}
	slices.Sort(all)
	return all
}

func pair(name, value string) string { return name + `="` + labelText.Replace(value) + `"` }

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

func (o exposition) line(m *metric, suffix string, pairs []string, v float64) {
	b := o[m]
	if b == nil {
		b = new(strings.Builder)
		o[m] = b
	}
	b.WriteString(m.name + suffix)
	if len(pairs) > 0 {
		b.WriteString("{" + strings.Join(pairs, ",") + "}")
	}
	b.WriteString(" " + number(v) + "\n")
}
