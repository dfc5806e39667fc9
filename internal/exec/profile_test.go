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
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// BenchmarkDispatch runs 1,000 operators on 8 numbers each: what an operator costs
// besides its work, in a plan that the pool runs.
func BenchmarkDispatch(b *testing.B) {
	const operators = 1000
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("threads=%d", threads), func(b *testing.B) {
			p := pool.New(threads)
			defer p.Close()
			s := newChain(b, "float32[8]", operators, "Add", exec.Options{Pool: p})
			defer s.Close()
			in := []*tensor.Tensor{tensor.New(dtype.Float32, 8)}
			ctx := context.Background()
			for b.Loop() {
				if _, err := s.Run(ctx, in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/operators, "ns/operator")
		})
	}
}

// BenchmarkProfile compares runs that are timed step by step with runs that are not, for
// 100 small products (some 15 µs each).
func BenchmarkProfile(b *testing.B) {
	s := newChain(b, "float32[64,64]", 100, "MatMul", exec.Options{})
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

// newChain is a session of so many operators, each of the result of the one before and a
// constant of the same type.
func newChain(b *testing.B, typ string, operators int, name string, options exec.Options) *exec.Session {
	b.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "graph \"g\" {\n  input %%v0 %s\n  const %%w %s = …\n", typ, typ)
	for i := range operators {
		fmt.Fprintf(&text, "  %%v%d = %s(%%v%d, %%w)\n", i+1, name, i)
	}
	fmt.Fprintf(&text, "  output %%v%d\n}\n", operators)
	g, err := ir.Parse(text.String(), 17)
	if err != nil {
		b.Fatal(err)
	}
	if err := op.InferTypes(g); err != nil {
		b.Fatal(err)
	}
	return exec.New(g, options)
}
