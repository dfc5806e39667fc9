package recover

import (
	"context"
	"slices"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/ptq"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/quant/weight"
	"github.com/salver-ml/salver/internal/tensor"
)

const (
	// wantedRows is how many rows a layer is seen with, over all samples.
	wantedRows = 4096
	// gatheredBytes bounds what is gathered in one run over the samples.
	gatheredBytes = 256 << 20
)

// seen is what the groups of a layer read.
type seen struct {
	groups []*weight.Activations
	mean   [][]float64 // of each column; sums until finish
	lo, hi []float32   // of each channel that the layer reads
}

// gather runs a graph and gathers what layers read, in lists of layers that fit into
// memory; visit is called with each layer once. The rows of a convolution are the
// patches under its window at some places, of a product all rows or some. told, if not
// nil, hears how many runs of how many are done.
func gather(ctx context.Context, g *ir.Graph, list []*layer, set samples.Set, want weight.Want, p *pool.Pool, told func(done, all int), visit func(*layer, *seen) error) error {
	lists, err := inLists(ctx, g, list, set, want)
	if err != nil {
		return err
	}
	for i, list := range lists {
		each := func(done int) {
			if told != nil {
				told(i*set.Len()+done, len(lists)*set.Len())
			}
		}
		if err := gatherSome(ctx, g, list, set, want, p, each, visit); err != nil {
			return err
		}
	}
	return nil
}

// inLists cuts the layers into lists of which what they read, and what is gathered of
// it, fits into memory at the same time.
func inLists(ctx context.Context, g *ir.Graph, list []*layer, set samples.Set, want weight.Want) ([][]*layer, error) {
	readers, names := map[string][]*layer{}, []string(nil)
	for _, l := range list {
		if newPatches(l) == nil {
			continue
		}
		name := l.n.In[0].Name
		if readers[name] == nil {
			names = append(names, name)
		}
		readers[name] = append(readers[name], l)
	}
	if len(names) == 0 {
		return nil, nil
	}
	first, err := set.At(ctx, 0)
	if err != nil {
		return nil, err
	}
	groups, err := ptq.Groups(g, names, first)
	if err != nil {
		return nil, err
	}
	var lists [][]*layer
	for _, group := range groups {
		bytes := int64(gatheredBytes)
		for _, name := range group {
			for _, l := range readers[name] {
				size := want.Bytes(l.columns()) * int64(l.groups)
				if bytes += size; bytes > gatheredBytes {
					lists, bytes = append(lists, nil), size
				}
				lists[len(lists)-1] = append(lists[len(lists)-1], l)
			}
		}
	}
	return lists, nil
}

func gatherSome(ctx context.Context, g *ir.Graph, list []*layer, set samples.Set, want weight.Want, p *pool.Pool, told func(done int), visit func(*layer, *seen) error) error {
	var names []string
	all := make([]*seen, len(list))
	for i, l := range list {
		if name := l.n.In[0].Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
		s := &seen{lo: make([]float32, l.inputs()), hi: make([]float32, l.inputs())}
		for range l.groups {
			s.groups = append(s.groups, weight.NewActivations(l.columns(), want))
			s.mean = append(s.mean, make([]float64, l.columns()))
		}
		all[i] = s
	}
	rows := max(1, wantedRows/set.Len())
	see := func(out []*tensor.Tensor) error {
		for i, l := range list {
			x := out[slices.Index(names, l.n.In[0].Name)]
			if err := all[i].add(newPatches(l), x, rows, p); err != nil {
				return err
			}
		}
		return nil
	}
	if err := ptq.Run(ctx, g, set, names, see, p, told); err != nil {
		return err
	}
	for i, l := range list {
		all[i].finish()
		if err := visit(l, all[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// add takes in one sample's input of the layer.
func (s *seen) add(c *patches, x *tensor.Tensor, rows int, p *pool.Pool) error {
	if x.DType != dtype.Float32 || x.Rank() != c.rank && c.rank > 0 {
		return nil
	}
	s.ranges(c, x)
	if len(s.groups) > 1 { // of which each is too small for several threads
		p = nil
	}
	for i, a := range s.groups {
		m := c.rows(x, i, rows)
		for j, v := range m {
			s.mean[i][j%a.Cols] += float64(v)
		}
		if err := a.Add(m, p); err != nil {
			return err
		}
	}
	return nil
}

// ranges takes in the extremes of each channel, over all of the sample.
func (s *seen) ranges(c *patches, x *tensor.Tensor) {
	inner := 1
	if c.rank > 0 {
		inner = tensor.Count(x.Shape[2:])
	}
	for i, v := range tensor.Of[float32](x) {
		ch := i / inner % len(s.lo)
		s.lo[ch], s.hi[ch] = min(s.lo[ch], v), max(s.hi[ch], v)
	}
}

func (s *seen) finish() {
	for i, a := range s.groups {
		for j := range s.mean[i] {
			s.mean[i][j] /= float64(max(a.Count, 1))
		}
	}
}
