package main

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// inside is what salver's own histogram of request durations says: from the
// acceptance of a request to its outputs, without the network, the kernel and
// the load generator. Counts are cumulative, by upper bound in seconds.
type inside struct{ bounds, counts []float64 }

// readInside reads the histogram of the digit model over a protocol, http or grpc.
func (s *server) readInside(protocol string) (h inside, err error) {
	resp, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		labels, ok := strings.CutPrefix(sc.Text(), "salver_request_duration_seconds_bucket{")
		if !ok || !strings.Contains(labels, `model="digits"`) || !strings.Contains(labels, `protocol="`+protocol+`"`) || strings.Contains(labels, `le="+Inf"`) {
			continue
		}
		_, rest, _ := strings.Cut(labels, `le="`)
		bound, rest, _ := strings.Cut(rest, `"`)
		b, err := strconv.ParseFloat(bound, 64)
		if err != nil {
			return h, err
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' ')+1:]), 64)
		if err != nil {
			return h, err
		}
		h.bounds, h.counts = append(h.bounds, b), append(h.counts, n)
	}
	return h, sc.Err()
}

// quantile estimates a quantile of what came since an earlier reading, within its bucket.
func (h inside) quantile(q float64, since inside) time.Duration {
	count := func(i int) float64 {
		if i < 0 {
			return 0
		}
		if i < len(since.counts) {
			return h.counts[i] - since.counts[i]
		}
		return h.counts[i]
	}
	rank := q * count(len(h.counts)-1)
	low := 0.0
	for i, bound := range h.bounds {
		below, up := count(i-1), count(i)
		if up > below && up >= rank {
			return time.Duration((low + (bound-low)*(rank-below)/(up-below)) * float64(time.Second))
		}
		low = bound
	}
	return 0
}

func (h inside) since(earlier inside) string {
	return fmt.Sprintf("inside the server p50 %v  p99 %v  p99.9 %v", micros(h.quantile(.5, earlier)), micros(h.quantile(.99, earlier)), micros(h.quantile(.999, earlier)))
}
