package pointwise

import (
	"fmt"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/shape"
)

// Before opset 7, input 1 of a binary operator stretched only if the attribute
// broadcast said so: its dimensions stood under those of input 0 from an axis
// on, by default the last ones.

// RegisterLegacy registers the form of opset 6 of an operator that is
// registered for opset 7.
func RegisterLegacy(name string, version int) {
	attrs := op.Attrs{"axis": op.Opt(ir.KindInt), "broadcast": op.Default(ir.Int(0))}
	register(name, version, attrs, func(n *ir.Node, a, b int) (int, error) {
		switch {
		case !n.Bool("broadcast") && a != b:
			return 0, fmt.Errorf("inputs have %d and %d dimensions, expected equal shapes without the attribute broadcast", a, b)
		case n.Has("axis") && n.Bool("broadcast"):
			return n.Int("axis"), nil
		}
		return a - b, nil
	})
}

// RegisterLegacyChannels is RegisterLegacy for operators whose vector in input
// 1 has a number for each channel.
func RegisterLegacyChannels(name string, version int) {
	register(name, version, nil, func(_ *ir.Node, a, b int) (int, error) {
		if b == 1 && a > 1 {
			return 1, nil
		}
		return a - b, nil
	})
}

func register(name string, version int, attrs op.Attrs, axis func(n *ir.Node, a, b int) (int, error)) {
	o := *op.Find("", name, 7)
	infer, ref := o.Infer, o.Ref
	o.Versions, o.Attrs, o.Compile, o.InPlace, o.Rows, o.Cases = []int{version}, attrs, nil, nil, nil, nil
	o.Infer = func(c *op.Infer) error {
		a, b := c.In[0].Shape, c.In[1].Shape
		if a == nil || b == nil {
			c.Set(0, c.In[0].DType, a)
			return nil
		}
		at, err := axis(c.Node, len(a), len(b))
		if err != nil {
			return err
		}
		if c.In[1].Shape, err = under(a, b, at); err != nil {
			return err
		}
		return infer(c)
	}
	o.Ref = func(c *op.Call) error {
		a, b := c.In[0], c.In[1]
		at, err := axis(c.Node, len(a.Shape), len(b.Shape))
		if err != nil {
			return err
		}
		s, err := under(shape.Of(a.Shape...), shape.Of(b.Shape...), at)
		if err != nil {
			return err
		}
		dims, _ := s.Ints()
		aligned := *c
		aligned.In = append(aligned.In[:0:0], a, b.Reshape(dims...))
		err = ref(&aligned)
		c.Out = aligned.Out
		return err
	}
	op.Register(&o)
}

// under appends ones to b so that it stands under a's dimensions from an axis on.
func under(a, b shape.Shape, axis int) (shape.Shape, error) {
	if axis < 0 {
		axis += len(a)
	}
	if axis < 0 || axis+len(b) > len(a) {
		return nil, fmt.Errorf("shape %v does not stand under %v from axis %d on", b, a, axis)
	}
	s := append(shape.Shape{}, b...)
	for len(s) < len(a)-axis {
		s = append(s, shape.Const(1))
	}
	return s, nil
}
