package limit

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

func TestInFlight(t *testing.T) {
	f := &InFlight{Max: 3}
	var inside, ok atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if !f.Enter() {
					continue
				}
				ok.Add(1)
				if n := inside.Add(1); n > f.Max {
					t.Errorf("%d inside", n)
				}
				inside.Add(-1)
				f.Leave()
			}
		})
	}
	wg.Wait()
	if f.Now() != 0 || ok.Load()+int64(f.Refused()) != 4000 {
		t.Errorf("%d inside, %d entered, %d refused", f.Now(), ok.Load(), f.Refused())
	}
	none := &InFlight{}
	for range 10 {
		if !none.Enter() {
			t.Error("no place though there is no maximum")
		}
	}
}

func TestHTTP(t *testing.T) {
	f := &InFlight{Max: 1}
	var inner http.Handler
	h := f.HTTP(func(r *http.Request) bool { return r.URL.Path == "/live" }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			return
		}
		for path, want := range map[string]int{"/other": 429, "/live": 200} { // while this one is being answered
			w := httptest.NewRecorder()
			inner.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != want || want == 429 && (w.Header().Get("Retry-After") != "1" || !json.Valid(w.Body.Bytes())) {
				t.Errorf("%s: status %d, %v %s", path, w.Code, w.Header(), w.Body)
			}
		}
	}))
	inner = h
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if f.Now() != 0 || f.Refused() != 1 {
		t.Errorf("%d inside, %d refused", f.Now(), f.Refused())
	}
}
