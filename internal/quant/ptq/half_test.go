package ptq

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/tensor"
)

func TestHalf(t *testing.T) {
	for _, to := range []dtype.Type{dtype.Float16, dtype.BFloat16} {
		for _, p := range patterns {
			g := network(t, 13, p.body)
			in := inputs(g, 1)[0]
			want := run(t, g, in)
			rep, err := Half(context.Background(), g, to, false, Options{})
			if err != nil {
				t.Fatalf("%s: %v", p.name, err)
			}
			least := map[dtype.Type]float64{dtype.Float16: 60, dtype.BFloat16: 42}[to]
			if db := worst(run(t, g, in), want); db < least {
				t.Errorf("%s, %s: %.1f dB", p.name, to, db)
			}
			if rep.BytesAfter > rep.BytesBefore*3/4 {
				t.Errorf("%s, %s: %d of %d bytes", p.name, to, rep.BytesAfter, rep.BytesBefore)
			}
			if fast, counts := optimized(t, reread(t, g)); counts["Cast"] > 0 {
				t.Errorf("%s, %s: a Cast remains\n%s", p.name, to, fast)
			}
		}
	}
}

func TestHalfOverflow(t *testing.T) {
	g := network(t, 13, patterns[2].body)
	tensor.Of[float32](g.Nodes[0].In[1].Const)[7] = 1e5
	rep, err := Half(context.Background(), g, dtype.Float16, true, Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(rep.Layers, func(l report.Layer) bool { return l.Precision == "float32" })
	if i < 0 || !strings.Contains(rep.Layers[i].Reason, `"w1" has 100000`) {
		t.Errorf("the report says %+v", rep.Layers)
	}
	if in, out := g.Inputs[0].Type.DType, g.Outputs[0].Value.Type.DType; in != dtype.Float16 || out != dtype.Float16 {
		t.Errorf("the ends are %s and %s", in, out)
	}
	if _, err := Half(context.Background(), network(t, 13, "  input %x float32[2]\n  %y = Relu(%x)\n  output %y\n"), dtype.Float16, false, Options{}); err == nil {
		t.Error("no error without constants")
	}
}

// Weights that are stored in 16 bits are quantized as those of float32 are, however
// large.
func TestQuantizeHalves(t *testing.T) {
	g := network(t, 13, `  input %x float32[2,1024]
  input %w float32[1024,1024]
  %y = MatMul(%x, %w)
  output %y
`)
	if _, err := Half(t.Context(), g, dtype.Float16, false, Options{}); err != nil {
		t.Fatal(err)
	}
	g = reread(t, g)
	rep, err := Dynamic(t.Context(), g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Layers) != 1 || rep.Layers[0].Precision != "int8" || rep.BytesAfter > 1100<<10 {
		t.Errorf("%+v, %d bytes", rep.Layers, rep.BytesAfter)
	}
}
