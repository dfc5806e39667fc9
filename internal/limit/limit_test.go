package limit

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	const text = "0123456789"
	for _, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
		for limit := int64(0); limit < 13; limit++ {
			got, err := io.ReadAll(Reader(wrap(strings.NewReader(text)), limit))
			if limit >= int64(len(text)) {
				if err != nil || string(got) != text {
					t.Errorf("limit %d: %q %v", limit, got, err)
				}
			} else if !IsTooLarge(err) || string(got) != text[:limit] {
				t.Errorf("limit %d: %q %v", limit, got, err)
			}
		}
	}
}

func TestBody(t *testing.T) {
	r, _ := http.NewRequest("POST", "/", strings.NewReader("12345"))
	if err := Body(r, 4); !IsTooLarge(err) || err.Error() != "the body has 5 bytes, which is larger than the limit of 4 bytes" {
		t.Errorf("announced: %v", err)
	}
	r.ContentLength = -1
	if err := Body(r, 4); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r.Body); !IsTooLarge(err) {
		t.Errorf("chunked: %v", err)
	}
	if err := Body(&http.Request{ContentLength: 10 << 30}, DefaultBodyBytes); !IsTooLarge(err) {
		t.Errorf("10 GiB: %v", err)
	}
}

func TestInFlight(t *testing.T) {
	f := &InFlight{Max: 3}
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				if f.Enter() == nil {
					ok.Add(1)
					f.Leave()
				}
			}
		})
	}
	wg.Wait()
	if f.Now() != 0 || ok.Load()+int64(f.Refused()) != 4000 {
		t.Errorf("%d inside, %d entered, %d refused", f.Now(), ok.Load(), f.Refused())
	}
	none := &InFlight{}
	for range 10 {
		if err := none.Enter(); err != nil {
			t.Error(err)
		}
	}
}

func TestRefusals(t *testing.T) {
	var none *Refusals
	none.Add(Malformed)
	r := &Refusals{}
	r.Add(Unauthorized)
	r.Add(Unauthorized)
	if c := r.Counts(); c[Unauthorized] != 2 || c[BodyTooLarge] != 0 || len(c) != 4 {
		t.Errorf("counts %v", c)
	}
}
