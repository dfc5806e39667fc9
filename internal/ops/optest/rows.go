package optest

import (
	"fmt"

	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/tensor"
)

// checkRows computes each row of the batch alone, where the row rule says that
// rows are independent, and expects the same numbers.
func (r *run) checkRows() {
	if r.o.Rows == nil || len(r.c.In) == 0 || r.c.In[0] == nil {
		return
	}
	first := make([]int, len(r.c.In))
	all := make([]int, len(r.c.In))
	for i, t := range r.c.In {
		first[i], all[i] = op.NoRows, op.NoRows
		if t != nil && len(t.Shape) == len(r.c.In[0].Shape) && len(t.Shape) > 0 && t.Shape[0] == r.c.In[0].Shape[0] {
			all[i] = 0
		}
	}
	if len(r.c.In[0].Shape) == 0 || r.c.In[0].Shape[0] < 2 {
		return
	}
	first[0] = 0
	for _, axes := range [][]int{first, all} {
		out, ok := r.o.Rows(r.node, axes)
		if !ok {
			continue
		}
		for row := range r.c.In[0].Shape[0] {
			if err := r.checkRow(axes, out, row); err != nil {
				r.Errorf("row %d alone (batch axes %v → %v): %v", row, axes, out, err)
				return
			}
		}
	}
}

func (r *run) checkRow(in, out []int, row int) error {
	alone := make([]*tensor.Tensor, len(in))
	for i, t := range r.c.In {
		alone[i] = t
		if in[i] != op.NoRows {
			alone[i] = slice(t, in[i], row)
		}
	}
	node := r.newNode(alone)
	if err := op.Complete(node); err != nil {
		return err
	}
	got, err := reference(r.o, node, alone)
	if err != nil {
		return err
	}
	for i, want := range r.out {
		if want == nil || i >= len(out) {
			continue
		}
		if out[i] != op.NoRows {
			if out[i] >= len(want.Shape) || want.Shape[out[i]] <= row {
				return fmt.Errorf("output %d (%s) has no row %d on axis %d", i, want, row, out[i])
			}
			want = slice(want, out[i], row)
		}
		if err := Compare(got[i], want, r.c.Tol); err != nil {
			return fmt.Errorf("output %d: %w", i, err)
		}
	}
	return nil
}

// slice copies index row of an axis, keeping the axis with size 1.
func slice(t *tensor.Tensor, axis, row int) *tensor.Tensor {
	shape := append([]int{}, t.Shape...)
	shape[axis] = 1
	s := tensor.New(t.DType, shape...)
	strides := tensor.Strides(t.Shape)
	s.CopyStrided(t, row*strides[axis], strides)
	return s
}
