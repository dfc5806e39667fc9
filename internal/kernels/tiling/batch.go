package tiling

import (
	"fmt"
	"math"
	"math/bits"
)

// A Batch is the dimensions of a batch of products; none is a single product.
// An operand has a step per dimension: how far its items are apart, 0 where
// they are the same. Without steps all items share the operand.
type Batch []int

// Items is the number of products.
func (b Batch) Items() int {
	n := 1
	for _, d := range b {
		n *= d
	}
	return n
}

// Check reports a negative dimension.
func (b Batch) Check() error {
	for _, d := range b {
		if d < 0 {
			return fmt.Errorf("batch %v: none may be negative", []int(b))
		}
	}
	return nil
}

// Offset is where an item begins.
func (b Batch) Offset(item int, steps []int) int {
	if steps == nil {
		return 0
	}
	off := 0
	for i := len(b) - 1; i >= 0; i-- {
		off += item % b[i] * steps[i]
		item /= b[i]
	}
	return off
}

// Last is the largest offset that steps reach.
func (b Batch) Last(steps []int) (int, error) {
	if steps == nil {
		return 0, nil
	}
	if len(steps) != len(b) {
		return 0, fmt.Errorf("%d steps for the batch %v, which has %d dimensions", len(steps), []int(b), len(b))
	}
	last := 0
	for i, s := range steps {
		if s < 0 {
			return 0, fmt.Errorf("steps %v: none may be negative", steps)
		}
		far, ok := mulAdd(max(b[i]-1, 0), s, last)
		if !ok {
			return 0, fmt.Errorf("batch %v with steps %v is beyond what can be addressed", []int(b), steps)
		}
		last = far
	}
	return last, nil
}

// mulAdd is a·b + c for numbers that are not negative, if that is an int.
func mulAdd(a, b, c int) (int, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	lo, carry := bits.Add64(lo, uint64(c), 0)
	return int(lo), hi+carry == 0 && lo <= math.MaxInt
}

// CheckMatrix reports whether the last element of a stored matrix, or of the
// last in a batch, is within so many elements. Kernels rely on it: they check
// no bounds.
func (b Batch) CheckMatrix(elements, rows, cols, stride int, steps []int) error {
	last, err := b.Last(steps)
	if err != nil {
		return err
	}
	if rows == 0 || cols == 0 || b.Items() == 0 {
		return nil
	}
	if stride < cols && rows > 1 {
		return fmt.Errorf("stride %d is less than its %d columns", stride, cols)
	}
	need, ok := cols, true
	if rows > 1 {
		need, ok = mulAdd(rows-1, stride, cols)
	}
	if ok {
		need, ok = mulAdd(1, need, last)
	}
	if !ok || elements < need {
		return fmt.Errorf("%d elements, but %d×%d with stride %d, batch %v and steps %v needs %d",
			elements, rows, cols, stride, []int(b), steps, need)
	}
	return nil
}
