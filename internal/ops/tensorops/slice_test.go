package tensorops

import (
	"testing"

	"github.com/salver-ml/salver/internal/shape"
)

func TestSlicedSizes(t *testing.T) {
	n := shape.Sym("n")
	for _, c := range []struct {
		start, end int
		d, want    shape.Dim
	}{
		{-1, -3, n, shape.Const(0)}, {-3, -1, n, shape.Const(2)}, {1, endless, n, n.Sub(shape.Const(1))}, {-1, -3, shape.Const(2), shape.Const(0)},
	} {
		got, err := slicedDim(shape.Const(c.start), shape.Const(c.end), 1, c.d)
		if err != nil || !got.Equal(c.want) {
			t.Errorf("%d to %d of %v: %v, %v; want %v", c.start, c.end, c.d, got, err, c.want)
		}
	}
}
