package signal

import (
	"fmt"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/shape"
	"github.com/salver-ml/salver/internal/tensor"
)

func init() {
	o := op.Op{
		Name: "DFT", Doc: "the discrete Fourier transform along an axis; complex numbers are pairs in the last dimension",
		Out: op.Ports("output:T1"), Types: op.Types{"T1": op.Floats, "T2": op.Indices},
		Infer: dftInfer, Ref: dftRef,
	}
	flags := func() op.Attrs {
		return op.Attrs{"inverse": op.Default(ir.Int(0)), "onesided": op.Default(ir.Int(0))}
	}
	old := o
	old.Versions, old.In, old.Attrs = []int{17}, op.Ports("input:T1", "dft_length:T2?"), flags()
	old.Attrs["axis"] = op.Default(ir.Int(1))
	op.Register(&old)
	o.Versions, o.In, o.Attrs, o.Cases = []int{20}, op.Ports("input:T1", "dft_length:T2?", "axis:int64?"), flags(), dftCases{}
	op.Register(&o)
}

// spectrum is the geometry of a DFT: sizes along its axis and of the pairs.
type spectrum struct {
	axis, length, out int
	parts             int // numbers of an output element: 2, or 1 for the inverse of a one-sided spectrum
	inverse, onesided bool
}

// newSpectrum resolves a DFT of n elements along axis.
func newSpectrum(node *ir.Node, n, length int) (spectrum, error) {
	s := spectrum{length: length, inverse: node.Bool("inverse"), onesided: node.Bool("onesided"), parts: 2}
	if length < 0 {
		s.length = n
		if s.inverse && s.onesided {
			s.length = 2 * (n - 1)
		}
	}
	s.out = s.length
	switch {
	case s.onesided && s.inverse:
		s.parts = 1
	case s.onesided:
		s.out = s.length/2 + 1
	}
	if s.length < 1 {
		return s, fmt.Errorf("dft_length is %d, expected at least 1", s.length)
	}
	return s, tensor.CheckSize([]int{s.length})
}

// dftAxis resolves the axis, which is not the last dimension.
func dftAxis(axis, rank int) (int, error) {
	axis, err := op.Axis(axis, rank)
	if err != nil || axis == rank-1 {
		return 0, fmt.Errorf("axis %d of %d dimensions: expected one before the last, which holds real and imaginary parts", axis, rank)
	}
	return axis, nil
}

func dftInfer(c *op.Infer) error {
	x := c.In[0]
	c.Set(0, x.DType, nil)
	axis, known := -2, true
	if c.Node.Has("axis") {
		axis = c.Node.Int("axis")
	}
	if f := c.Input(2); f.Present {
		v, ok := f.Ints()
		if known = ok && len(v) == 1; known {
			axis = v[0]
		}
	}
	if x.Shape == nil || !known {
		return nil
	}
	axis, err := dftAxis(axis, len(x.Shape))
	if err != nil {
		return err
	}
	s := slices.Clone(x.Shape)
	n, fixed := s[axis].Int()
	length := -1
	if f := c.Input(1); f.Present {
		v, ok := f.Ints()
		if fixed = ok && len(v) == 1; fixed {
			length = v[0]
		}
	}
	sp, err := newSpectrum(c.Node, n, length)
	if err != nil && fixed {
		return err
	}
	s[axis] = shape.Unknown()
	if fixed {
		s[axis] = shape.Const(sp.out)
	}
	s[len(s)-1] = shape.Const(sp.parts)
	c.Set(0, x.DType, s)
	return nil
}

func dftRef(c *op.Call) error {
	x := c.In[0]
	axis, length := -2, -1
	if c.Node.Has("axis") {
		axis = c.Node.Int("axis")
	}
	for i, dst := range map[int]*int{1: &length, 2: &axis} {
		if t := c.Input(i); t != nil {
			v, err := t.Ints()
			if err != nil || len(v) != 1 {
				return fmt.Errorf("input %d: expected one integer, found %s", i, t)
			}
			*dst = v[0]
		}
	}
	axis, err := dftAxis(axis, x.Rank())
	if err != nil {
		return err
	}
	sp, err := newSpectrum(c.Node, x.Shape[axis], length)
	if err != nil {
		return err
	}
	parts := x.Shape[x.Rank()-1]
	if parts != 1 && parts != 2 {
		return fmt.Errorf("the last dimension has size %d, expected 1 (real) or 2 (complex)", parts)
	}
	dims := slices.Clone(x.Shape)
	dims[axis], dims[len(dims)-1] = sp.out, sp.parts
	out := c.Output(0, x.DType, dims...)
	v, result := num.Floats(x), make([]float64, out.Len())
	n, inner := x.Shape[axis], tensor.Count(x.Shape[axis+1:x.Rank()-1])
	var t *transform
	var narrow *transform32
	if parts == 2 && sp.parts == 2 && x.DType == dtype.Float32 {
		narrow = newTransform32(sp.length)
	}
	if narrow == nil {
		t = newTransform(sp.length)
	}
	signal := make([]complex128, sp.length)
	for o := range tensor.Count(x.Shape[:axis]) {
		for i := range inner {
			clear(signal)
			for k := range min(n, sp.length) {
				signal[k] = pair(v, ((o*n+k)*inner+i)*parts, parts)
			}
			if narrow != nil {
				narrow.run(signal, sp.inverse)
			} else {
				sp.run(t, signal)
			}
			for k := range sp.out {
				at := ((o*sp.out+k)*inner + i) * sp.parts
				result[at] = real(signal[k])
				if sp.parts == 2 {
					result[at+1] = imag(signal[k])
				}
			}
		}
	}
	num.SetFloats(out, result)
	return nil
}

func pair(v []float64, at, parts int) complex128 {
	if parts == 1 {
		return complex(v[at], 0)
	}
	return complex(v[at], v[at+1])
}

// run transforms one signal; the inverse of a one-sided spectrum first completes
// it by its symmetry.
func (s spectrum) run(t *transform, signal []complex128) {
	if !s.inverse {
		t.forward(signal)
		return
	}
	if s.onesided {
		for k := len(signal)/2 + 1; k < len(signal); k++ {
			m := signal[len(signal)-k]
			signal[k] = complex(real(m), -imag(m))
		}
		signal[0] = complex(real(signal[0]), 0)
		if n := len(signal); n%2 == 0 {
			signal[n/2] = complex(real(signal[n/2]), 0)
		}
	}
	t.inverse(signal)
}

func init() {
	op.Register(&op.Op{
		Name: "STFT", Versions: []int{17}, Doc: "the Fourier transforms of windowed frames of a signal",
		In:  op.Ports("signal:T1", "frame_step:T2", "window:T1?", "frame_length:T2?"),
		Out: op.Ports("output:T1"), Types: op.Types{"T1": op.Floats, "T2": op.Indices},
		Attrs: op.Attrs{"onesided": op.Default(ir.Int(1))},
		Infer: stftInfer, Ref: stftRef, Rows: op.RowsFirst, Cases: stftCases{},
	})
}

func stftInfer(c *op.Infer) error {
	x := c.In[0]
	batch, frames, bins := shape.Unknown(), shape.Unknown(), shape.Unknown()
	length, known := -1, true
	if f := c.Input(3); f.Present {
		v, ok := f.Ints()
		if known = ok && len(v) == 1; known {
			length = v[0]
		}
	} else if w := c.Input(2); w.Present {
		known = false
		if len(w.Shape) == 1 {
			length, known = w.Shape[0].Int()
		}
	}
	if known && length > 0 {
		bins = shape.Const(length)
		if c.Node.Bool("onesided") {
			bins = shape.Const(length/2 + 1)
		}
	}
	if len(x.Shape) == 3 || len(x.Shape) == 2 { // PyTorch writes real signals without the last dimension
		batch = x.Shape[0]
		step, ok := c.In[1].Ints()
		n, fixed := x.Shape[1].Int()
		if ok && len(step) == 1 && step[0] > 0 && fixed && known && length > 0 {
			frames = shape.Const(max(0, 1+floorDiv(n-length, step[0])))
		}
	} else if x.Shape != nil {
		return fmt.Errorf("signal has shape %v, expected 3 dimensions, batch, time and parts, or 2 of real signals", x.Shape)
	}
	c.Set(0, x.DType, shape.Shape{batch, frames, bins, shape.Const(2)})
	return nil
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func stftRef(c *op.Call) error {
	x := c.In[0]
	parts := 1
	if x.Rank() == 3 {
		parts = x.Shape[2]
	}
	if x.Rank() != 2 && x.Rank() != 3 || parts != 1 && parts != 2 {
		return fmt.Errorf("signal is %s, expected [batch, time, 1 or 2] or [batch, time]", x)
	}
	step, err := scalarInt(c, 1)
	if err != nil {
		return err
	}
	length := x.Shape[1]
	var window []float64
	if w := c.Input(2); w != nil {
		if w.Rank() != 1 {
			return fmt.Errorf("window is %s, expected one dimension", w)
		}
		window, length = num.Floats(w), w.Len()
	}
	if c.Input(3) != nil {
		if length, err = scalarInt(c, 3); err != nil {
			return err
		}
	}
	if step < 1 || length < 1 || window != nil && len(window) != length {
		return fmt.Errorf("frame_step %d, frame_length %d, window of %d: expected positive numbers and a window as long as a frame", step, length, len(window))
	}
	frames, bins := max(0, 1+floorDiv(x.Shape[1]-length, step)), length
	if c.Node.Bool("onesided") {
		bins = length/2 + 1
	}
	out := c.Output(0, x.DType, x.Shape[0], frames, bins, 2)
	v, result := num.Floats(x), make([]float64, 0, out.Len())
	t, frame := newTransform(length), make([]complex128, length)
	for b := range x.Shape[0] {
		for f := range frames {
			for k := range frame {
				frame[k] = pair(v, (b*x.Shape[1]+f*step+k)*parts, parts)
				if window != nil {
					frame[k] *= complex(window[k], 0)
				}
			}
			t.forward(frame)
			for _, y := range frame[:bins] {
				result = append(result, real(y), imag(y))
			}
		}
	}
	num.SetFloats(out, result)
	return nil
}

func scalarInt(c *op.Call, i int) (int, error) {
	v, err := c.In[i].Ints()
	if err != nil || len(v) != 1 {
		return 0, fmt.Errorf("input %d: expected one integer, found %s", i, c.In[i])
	}
	return v[0], nil
}

// outputType reads the attribute output_datatype.
func outputType(n *ir.Node) (dtype.Type, error) {
	dt := n.DType("output_datatype")
	if !slices.Contains(op.Numeric, dt) {
		return dt, fmt.Errorf("output_datatype: expected a numeric type, found %s", dt)
	}
	return dt, nil
}
