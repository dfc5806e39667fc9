package transpose

import (
	"fmt"

	"github.com/salver-ml/salver/internal/pool"
)

// Transpose is a prepared permutation of axes.
type Transpose struct {
	shape []int
	copy  *Copy
}

// New prepares the permutation that makes axis i of the result out of axis
// perm[i] of the input, for elements of elem bytes.
func New(elem int, shape, perm []int) (*Transpose, error) {
	if len(perm) != len(shape) {
		return nil, fmt.Errorf("transpose: shape %v needs %d axes in perm, found %v", shape, len(shape), perm)
	}
	strides := contiguous(shape)
	t := &Transpose{shape: make([]int, len(shape))}
	src := make([]int, len(shape))
	seen := make([]bool, len(shape))
	for i, a := range perm {
		if a < 0 || a >= len(shape) || seen[a] {
			return nil, fmt.Errorf("transpose: perm %v is not a permutation of %d axes", perm, len(shape))
		}
		seen[a] = true
		t.shape[i], src[i] = shape[a], strides[a]
	}
	c, err := NewCopy(elem, t.shape, contiguous(t.shape), src)
	if err != nil {
		return nil, fmt.Errorf("transpose: %w", err)
	}
	t.copy = c
	return t, nil
}

// contiguous is the row-major strides of a shape.
func contiguous(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// Shape is the result's shape.
func (t *Transpose) Shape() []int { return t.shape }

// Run permutes src into dst, which may not overlap.
func (t *Transpose) Run(p *pool.Pool, dst, src []byte) { t.copy.Run(p, dst, src, 0, 0) }
