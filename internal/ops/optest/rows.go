package optest

import (
	"bytes"
	"fmt"

	"github.com/salver-ml/salver/internal/cpu"
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
		for _, level := range cpu.Levels() {
			restore := cpu.Force(level)
			err := r.checkRowBits(axes, out)
			restore()
			if err != nil {
				r.Errorf("at %s, %v (batch axes %v → %v): %v", level, r.precision, axes, out, err)
				return
			}
		}
	}
}

// checkRowBits computes all rows and each alone as a session would, with the fast kernel
// where there is one for the shapes, and expects the same bits.
func (r *run) checkRowBits(in, out []int) error {
	if r.o.Compile == nil {
		return nil
	}
	for _, r.precision = range []op.Precision{op.FP32, op.BF16} {
		if r.precision.Available() != nil {
			continue
		}
		for _, known := range r.knownOf(in) {
			all, err := r.session(known)
			if err != nil {
				return err
			}
			for row := range r.c.In[0].Shape[0] {
				alone, err := r.alone(in, row)
				if err != nil {
					return err
				}
				got, err := alone.session(known)
				if err != nil {
					return err
				}
				for i, want := range all {
					if i >= len(out) || want == nil || out[i] == op.NoRows {
						continue
					}
					if want = slice(want, out[i], row); !bytes.Equal(got[i].Data, want.Data) {
						return fmt.Errorf("with %d inputs known, row %d of output %d has other bits alone", len(in)-known, row, i)
					}
				}
			}
		}
	}
	return nil
}

// knownOf says from which input on inputs are constants: never those that have rows.
func (r *run) knownOf(axes []int) []int {
	last := 0
	for i, a := range axes {
		if a != op.NoRows {
			last = i
		}
	}
	if last+1 == len(axes) {
		return []int{len(axes)}
	}
	return []int{len(axes), last + 1}
}

// alone is a run of one row.
func (r *run) alone(axes []int, row int) (*run, error) {
	a := *r
	a.c.In = make([]*tensor.Tensor, len(axes))
	for i, t := range r.c.In {
		a.c.In[i] = t
		if axes[i] != op.NoRows {
			a.c.In[i] = slice(t, axes[i], row)
		}
	}
	a.node = r.newNode(a.c.In)
	err := op.Complete(a.node)
	if err == nil {
		a.out, err = reference(a.o, a.node, a.c.In)
	}
	return &a, err
}

// session gives what the kernel computes, or the reference where there is none.
func (r *run) session(known int) ([]*tensor.Tensor, error) {
	k, scratch, err := r.compile(r.facts(known, false), r.pools[0])
	if err != nil || k == nil {
		return r.out, err
	}
	c := r.call(r.pools[0], scratch)
	return c.Out, k.Run(c)
}

func (r *run) checkRow(in, out []int, row int) error {
	alone, err := r.alone(in, row)
	if err != nil {
		return err
	}
	got := alone.out
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
