package nbits

import (
	"fmt"
	"path"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/ops/num"
	"github.com/salver-ml/salver/internal/quant/report"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/tensor"
)

// layer is a node with weights.
type layer struct {
	node       *ir.Node
	input      string    // the name of what it reads
	weights    *ir.Value // a constant
	outputs    bool      // stored as [outputs, inputs], as Gemm with transB has it
	rows, cols int       // outputs and inputs
	table      bool      // of a Gather: rows are entries
}

// few is the number of weights below which a matrix stays as it is: its scales
// and the operator's attributes would eat up what is won.
const few = 1024

// find lists the layers of a graph, and says of what else has weights why it
// stays as it is.
func find(g *ir.Graph, o *Options) (list []*layer, left []report.Layer) {
	for _, n := range g.Nodes {
		l := layerOf(n)
		if l == nil || l.table && !o.Embeddings {
			continue
		}
		if why := o.leaves(l); why != "" {
			left = append(left, report.Layer{Name: n.Name, Op: n.Op, Precision: l.weights.Const.DType.String(), Reason: why})
			continue
		}
		list = append(list, l)
	}
	return list, left
}

// layerOf gives a node's layer, nil if it has no constant matrix.
func layerOf(n *ir.Node) *layer {
	l := &layer{node: n}
	switch {
	case n.Is("MatMul") || n.Is("Gemm"):
		l.weights = n.In[1]
		l.outputs = n.Is("Gemm") && n.Bool("transB")
		if n.In[0].Const != nil {
			return nil
		}
		l.input = n.In[0].Name
	case n.Is("Gather") && n.Int("axis") == 0:
		l.weights, l.table, l.outputs = n.In[0], true, true
	default:
		return nil
	}
	w := l.weights.Const
	if w == nil || len(w.Shape) != 2 || w.DType != dtype.Float32 && w.DType != dtype.Float16 {
		return nil
	}
	l.rows, l.cols = w.Shape[1], w.Shape[0]
	if l.outputs {
		l.rows, l.cols = l.cols, l.rows
	}
	return l
}

// leaves says why a layer stays as it is, or "".
func (o *Options) leaves(l *layer) string {
	n := l.node
	for _, pattern := range o.Exclude {
		if ok, _ := path.Match(pattern, n.Name); ok { // complete has checked the pattern
			return fmt.Sprintf("excluded by %q", pattern)
		}
	}
	switch {
	case o.Ops != nil && !slices.Contains(o.Ops, n.Op):
		return "its operator is not among those asked for"
	case l.rows*l.cols < few:
		return fmt.Sprintf("it has %d weights, less than %d", l.rows*l.cols, few)
	case o.Scheme.Group > l.cols:
		return fmt.Sprintf("its rows of %d are shorter than a group", l.cols)
	case n.Is("Gemm") && (n.Bool("transA") || n.Float("alpha") != 1 || len(n.In) > 2 && n.In[2] != nil && n.Float("beta") != 1):
		return "its Gemm transposes the input or has factors"
	case o.Scheme.Kind == weight.NF4 && l.cols%o.Scheme.Group != 0:
		return fmt.Sprintf("its rows of %d are no whole groups", l.cols)
	case n.Is("MatMul") && len(n.In[0].Type.Shape) == 1:
		return "it multiplies a vector"
	}
	return ""
}

// matrix gives the weights as float32, [outputs, inputs].
func (l *layer) matrix() weight.Matrix {
	v := num.Float32s(l.weights.Const)
	m := weight.Matrix{Rows: l.rows, Cols: l.cols, Data: v}
	if !l.outputs {
		m.Data = make([]float32, len(v))
		turn(m.Data, v, l.cols, l.rows)
	} else if l.weights.Const.DType == dtype.Float32 {
		m.Data = slices.Clone(v) // which is the constant itself
	}
	return m
}

// turn writes the transpose of a matrix of rows×cols to dst.
func turn[T any](dst, src []T, rows, cols int) {
	const tile = 32
	for i0 := 0; i0 < rows; i0 += tile {
		for j0 := 0; j0 < cols; j0 += tile {
			for i := i0; i < min(i0+tile, rows); i++ {
				for j := j0; j < min(j0+tile, cols); j++ {
					dst[j*rows+i] = src[i*cols+j]
				}
			}
		}
	}
}

// bytes is what the weights take.
func (l *layer) bytes() int64 { return int64(len(l.weights.Const.Data)) }

// byInput groups layers that read the same value, in the order of the first.
// Tables are alone.
func byInput(list []*layer) (groups [][]*layer) {
	at := map[string]int{}
	for _, l := range list {
		if i, ok := at[l.input]; ok && !l.table {
			groups[i] = append(groups[i], l)
			continue
		}
		if !l.table {
			at[l.input] = len(groups)
		}
		groups = append(groups, []*layer{l})
	}
	return groups
}

// floatsOf reads an activation.
func floatsOf(t *tensor.Tensor) []float32 { return num.Float32s(t) }
