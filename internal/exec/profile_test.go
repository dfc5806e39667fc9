package exec_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	_ "github.com/salver-ml/salver/internal/ops"
	"github.com/salver-ml/salver/internal/tensor"
)

// BenchmarkProfile compares runs that are timed step by step with runs that are not, for
// 100 small products (some 15 µs each).
func BenchmarkProfile(b *testing.B) {
	var text strings.Builder
	text.WriteString("graph \"g\" {\n  input %v0 float32[64,64]\n  const %w float32[64,64] = …\n")
	for i := range 100 {
		fmt.Fprintf(&text, "  %%v%d = MatMul(%%v%d, %%w)\n", i+1, i)
	}
	text.WriteString("  output %v100\n}\n")
	g, err := ir.Parse(text.String(), 17)
	if err != nil {
		b.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		b.Fatal(err)
	}
	s := exec.New(g, exec.Options{})
	defer s.Close()
	in := []*tensor.Tensor{tensor.New(dtype.Float32, 64, 64)}
	ctx := context.Background()
	if _, err := s.Run(ctx, in); err != nil { // plans
		b.Fatal(err)
	}
	b.Run("run", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Run(ctx, in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("profile", func(b *testing.B) {
		if _, _, err := s.Profile(ctx, in, b.N); err != nil {
			b.Fatal(err)
		}
	})
}
