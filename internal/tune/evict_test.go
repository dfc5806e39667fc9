package tune

import (
	"testing"

	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/pool"
)

// Memory that was never written is one page, which evicts nothing.
func TestEvictorHasPagesOfItsOwn(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, model := range []int64{0, 1 << 40} {
		e := newEvictor(p, clock{}, model)
		defer e.close()
		b := e.data.Bytes()
		want := 4 * cpu.Cache().L2
		if model > 0 {
			want = max(want, cpu.Cache().L3/2*3)
		}
		if len(b) < want {
			t.Errorf("%d bytes for a model of %d, expected %d", len(b), model, want)
		}
		for at := 0; at < len(b); at += pageBytes {
			if b[at] == 0 {
				t.Fatalf("the page at %d was not written", at)
			}
		}
	}
}
