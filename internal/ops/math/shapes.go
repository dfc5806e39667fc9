package math

import (
	"fmt"

	"github.com/salver-ml/salver/internal/shape"
)

func shapeOf(d ...shape.Dim) shape.Shape { return d }

// stretches reports why s does not broadcast to exactly shape to.
func stretches(s, to shape.Shape) error {
	if len(s) > len(to) {
		return fmt.Errorf("shape %v has more dimensions than %v", s, to)
	}
	for i, d := range s {
		have, ok := d.Int()
		want, ok2 := to[i+len(to)-len(s)].Int()
		if ok && ok2 && have != 1 && have != want {
			return fmt.Errorf("shape %v does not broadcast to %v: dimension %d is %d", s, to, i, have)
		}
	}
	return nil
}
