// Package limit bounds the number of requests that a server answers at once,
// before they take any memory, and the bytes of their bodies.
package limit

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// InFlight counts the requests that are being answered and the bytes of their
// bodies and answers, and refuses what is beyond a maximum. The zero value has no maximum.
type InFlight struct {
	Max      int64 // requests; 0: no maximum
	MaxBytes int64 // of all that hold more than Small; 0: no maximum

	now, bytes                  atomic.Int64
	refused, refusedForItsBytes atomic.Uint64
}

// Enter takes a place, which Leave gives back; false if there is none.
func (f *InFlight) Enter() bool {
	if n := f.now.Add(1); f.Max > 0 && n > f.Max {
		f.now.Add(-1)
		f.refused.Add(1)
		return false
	}
	return true
}

// Leave gives a place back.
func (f *InFlight) Leave() { f.now.Add(-1) }

// Now is the number of requests being answered.
func (f *InFlight) Now() int64 { return f.now.Load() }

// Refused is the number of requests that found no place.
func (f *InFlight) Refused() uint64 { return f.refused.Load() }

// HTTP answers 429 with Retry-After where there is no place, without reading
// the body. Requests that exempt reports, such as health probes, need no place.
func (f *InFlight) HTTP(exempt func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if exempt(r) {
			next.ServeHTTP(w, r)
			return
		}
		if !f.Enter() {
			w.Header().Set("Retry-After", "1")
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprintf(w, "{\"error\":\"the server is answering its maximum of %d requests; try again later\"}\n", f.Max)
			return
		}
		defer f.Leave()
		next.ServeHTTP(w, r)
	})
}
