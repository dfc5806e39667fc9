package tiling

import "fmt"

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
		last += s * max(b[i]-1, 0)
	}
	return last, nil
}

// CheckMatrix reports whether the last element of a stored matrix, or of the
// last in a batch, is within so many elements.
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
	if need := last + (rows-1)*stride + cols; elements < need {
		return fmt.Errorf("%d elements, but %d×%d with stride %d, batch %v and steps %v needs %d",
			elements, rows, cols, stride, []int(b), steps, need)
	}
	return nil
}
