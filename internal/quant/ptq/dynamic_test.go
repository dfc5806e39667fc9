package ptq

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/quant/report"
)

// TestDynamic needs no data; per row, requests do not depend on each other.
func TestDynamic(t *testing.T) {
	for _, p := range patterns {
		for _, o := range []Options{{}, {PerRow: true}, {PerTensor: true}, {Weights: dtype.Uint8, AsymmetricWeights: true}} {
			for _, opset := range []int{13, 18} {
				if strings.Contains(p.body, "ReduceMean") || strings.Contains(p.body, "Split") && opset > 13 {
					continue
				}
				t.Run(fmt.Sprintf("%s, per row %v, one scale %v, %s, opset %d", p.name, o.PerRow, o.PerTensor, o.Weights, opset), func(t *testing.T) {
					g := network(t, opset, p.body)
					in := inputs(g, 1)[0]
					want := run(t, g, in)
					o.Ops = []string{"Conv", "MatMul", "Gemm", "Gather"}
					if _, err := Dynamic(context.Background(), g, o); err != nil {
						t.Fatal(err)
					}
					got := run(t, g, in)
					if db := worst(got, want); db < 26 {
						t.Errorf("%.1f dB", db)
					}
					if db := worst(run(t, reread(t, g), in), got); db < report.Exact {
						t.Errorf("the file differs by %.1f dB", db)
					}
					fast, _ := optimized(t, g)
					if db := worst(run(t, fast, in), got); db < 60 {
						t.Errorf("passes change the answer to %.1f dB", db)
					}
				})
			}
		}
	}
}

func TestDynamicRowsAreIndependent(t *testing.T) {
	for _, perRow := range []bool{false, true} {
		g := network(t, 13, patterns[7].body)
		if _, err := Dynamic(context.Background(), g, Options{PerRow: perRow}); err != nil {
			t.Fatal(err)
		}
		if err := exec.ProveRows(g); (err == nil) != perRow {
			t.Errorf("per row %v: %v", perRow, err)
		}
	}
}
