package blockq

import (
	"cmp"
	"testing"

	"github.com/salver-ml/salver/internal/dtype/block"
	"github.com/salver-ml/salver/internal/kernels/kerneltest"
)

// Products before the weights are packed have the bits of those after.
func TestStream(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, f := range append(formats(), block.F16, block.BF16) {
			k := 768
			for _, n := range []int{1, 83, 400} {
				rows := randomRows(f, n, k, 5)
				p := pack(t, f, n, k, rows)
				later, err := Prepacked(make([]byte, p.Bytes()), f, n, k)
				if err != nil {
					t.Fatal(err)
				}
				if err := later.Stream(rows); err != nil {
					t.Fatal(err)
				}
				for _, m := range []int{1, 3, 8, 21, 40} {
					task := Task{Product: Product{M: m, N: n, K: k, Packed: later}}
					if !task.Streams(2) {
						continue
					}
					x := kerneltest.Floats(t, m*k, nil)
					for i, v := range noise(m*k, 4) {
						x[i] = v
					}
					want, panels := product(t, p, x, m, 1, nil, nil), Panels(n)
					for _, ready := range []int{0, panels / 2} {
						partly, err := Prepacked(make([]byte, p.Bytes()), f, n, k)
						if err != nil {
							t.Fatal(err)
						}
						if err := cmp.Or(partly.Stream(rows), partly.PackPanels(rows, 0, ready/3), partly.PackPanels(rows, ready/3, ready)); err != nil {
							t.Fatal(err)
						}
						partly.Ready(ready)
						got := product(t, partly, x, m, 2, nil, nil)
						for i := range want {
							if !kerneltest.Same(got[i], want[i]) {
								t.Fatalf("%v, %d×%d×%d: row %d column %d: got %v with %d of %d panels packed, expected %v", f, m, n, k, i/n, i%n, got[i], ready, panels, want[i])
							}
						}
					}
				}
			}
		}
	})
}

func TestStreamNeedsItsRows(t *testing.T) {
	p := pack(t, block.Q4_0, 19, 64, randomRows(block.Q4_0, 19, 64, 1))
	if err := p.Stream(make([]byte, 35)); err == nil {
		t.Error("35 bytes are taken for 19 rows of 36")
	}
	if err := p.PackPanels(make([]byte, 35), 0, 1); err == nil {
		t.Error("35 bytes are packed as 19 rows of 36")
	}
}
