package fold

import (
	"fmt"
	"maps"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes/match"
)

// Pads lets convolutions and average pooling do their own padding.
var Pads = pass.Pass{
	Name: "fold-pad", Level: 1, Portable: true,
	Doc:     "A Pad with zeros around images becomes the padding of the Conv, or the counted padding of the AveragePool, that alone reads it.",
	Rewrite: pads,
}

func pads(c *pass.Context, n *ir.Node) (*ir.Patch, error) {
	pool := n.Is("AveragePool")
	if !n.Is("Conv") && !pool {
		return nil, nil
	}
	p := match.Producer(n.In[0], "Pad")
	if p == nil {
		return nil, nil
	}
	extra, why := zeroPads(p)
	own := n.Ints("pads")
	if own == nil {
		own = make([]int, max(len(extra)-4, 0))
	}
	switch auto := n.Str("auto_pad"); {
	case why != "":
	case !match.Private(n.In[0]):
		why = "the padded tensor is read elsewhere too"
	case auto != "NOTSET" && auto != "VALID" && auto != "":
		why = "its own padding depends on the input's size"
	case len(own) != len(extra)-4:
		why = "its padding has another number of dimensions"
	case pool && (n.Bool("ceil_mode") || !n.Bool("count_include_pad") && anyNonZero(own)):
		why = "it leaves its own padding out of the average"
	}
	if why != "" {
		c.Near(n, "%s: %s", p, why)
		return nil, nil
	}
	rank := len(extra) / 2
	sides := rank - 2
	all := make([]int, 2*sides)
	for i := range sides {
		all[i], all[sides+i] = own[i]+extra[2+i], own[sides+i]+extra[rank+2+i]
	}
	attrs := maps.Clone(n.Attrs)
	attrs["pads"], attrs["auto_pad"] = ir.Ints(all...), ir.Str("NOTSET")
	if pool {
		attrs["count_include_pad"] = ir.Int(1)
		kernel := n.Ints("kernel_shape")
		for i, p := range all {
			if p >= kernel[i%sides] {
				c.Near(n, "a padding of %d is more than a window", p)
				return nil, nil
			}
		}
	}
	y := c.Value(n.Out[0].Name)
	m := ir.NewNode("", n.Op, n.Opset, append([]*ir.Value{p.In[0]}, n.In[1:]...), []*ir.Value{y}, attrs)
	m.Name = n.Name
	return &ir.Patch{Reason: fmt.Sprintf("%s pads as %s did", n, p), Add: []*ir.Node{m}, Replace: []ir.Replacement{{Old: n.Out[0], New: y}}}, nil
}

// zeroPads reads the pads of a Pad that puts zeros around images.
func zeroPads(p *ir.Node) (pads []int, why string) {
	pads = p.Ints("pads")
	if v := p.Input(1); v != nil {
		if !v.IsConst() {
			return nil, "its pads are no constants"
		}
		pads, _ = v.Const.Ints()
	}
	rank := len(p.In[0].Type.Shape)
	if p.Input(3) != nil || rank < 3 || len(pads) != 2*rank {
		return nil, "its pads are not those of all axes"
	}
	if mode := p.Str("mode"); mode != "constant" && mode != "" {
		return nil, fmt.Sprintf("it pads in mode %s", mode)
	}
	if p.Float("value") != 0 {
		return nil, "it pads with other numbers than zero"
	}
	if v := p.Input(2); v != nil {
		if x, ok := match.Scalar(v); !ok || x != 0 {
			return nil, "it pads with other numbers than zero"
		}
	}
	if pads[0] != 0 || pads[1] != 0 || pads[rank] != 0 || pads[rank+1] != 0 {
		return nil, "it pads the batch or the channels"
	}
	for _, v := range pads {
		if v < 0 {
			return nil, "it crops"
		}
	}
	return pads, ""
}

func anyNonZero(v []int) bool {
	for _, x := range v {
		if x != 0 {
			return true
		}
	}
	return false
}
