package backend

import (
	"testing"

	"github.com/salver-ml/salver/internal/demo"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/exec"
)

// What does not fit into memory is refused before there is a request.
func TestPrepare(t *testing.T) {
	for limit, fits := range map[int]bool{0: true, 64 << 20: true, 1 << 10: false} {
		e, err := engine.Parse(demo.Models()[0].ONNX, engine.Options{MaxMemory: limit})
		if err != nil {
			t.Fatal(err)
		}
		b := New(e)
		before := b.MemoryBytes()
		if err := b.Prepare(); (err == nil) != fits || !fits && !exec.IsMemoryError(err) {
			t.Errorf("limit %d: %v", limit, err)
		}
		if fits && b.MemoryBytes() <= before {
			t.Errorf("limit %d: it holds %d bytes before and %d after: expected packed weights", limit, before, b.MemoryBytes())
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}
