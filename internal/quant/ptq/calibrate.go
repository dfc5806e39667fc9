package ptq

import (
	"context"
	"errors"
	"fmt"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
	"github.com/salver-ml/salver/internal/pass"
	"github.com/salver-ml/salver/internal/passes"
	"github.com/salver-ml/salver/internal/passes/quant"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/quant/calib"
	"github.com/salver-ml/salver/internal/quant/samples"
	"github.com/salver-ml/salver/internal/tensor"
)

// Calibration holds what activations were seen to be.
type Calibration struct {
	Calibrator string
	Samples    int
	Observers  map[string]calib.Observer // by the name of the value in the prepared graph
	flat       map[string]*flat          // likewise
}

// Watch makes the observer of a tensor.
type Watch func() (calib.Observer, error)

// errNothing is what there is to say of a model without anything to quantize.
var errNothing = errors.New("nothing can be quantized: the model has no convolution, matrix product or embedding with constant weights of float32 (if it computes in 16 bits, take the one that it was made from)")

// watchedBytes bounds the activations of one run that are kept to be observed.
// A model with more of them is run several times.
const watchedBytes = 256 << 20

// Calibrate runs a prepared graph on all samples and observes every activation
// that Apply may want to quantize, whatever Options.Keep and Exclude say then.
// progress, if not nil, is told after each run how many of how many are done.
// Memory is bounded by that of a run with some of the activations kept, whatever
// the number of samples.
func Calibrate(ctx context.Context, g *ir.Graph, set samples.Set, watch Watch, o Options, progress func(done, all int)) (*Calibration, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	if set.Len() == 0 {
		return nil, errors.New("there are no samples to calibrate with")
	}
	o.Keep, o.Exclude, o.Ops = nil, nil, nil
	names := watched(g, &o)
	if len(names) == 0 && !storesSome(g, &o) {
		return nil, errNothing
	}
	c := &Calibration{Samples: set.Len(), Observers: map[string]calib.Observer{}, flat: map[string]*flat{}}
	for _, name := range names {
		if c.Observers[name], err = watch(); err != nil {
			return nil, err
		}
		c.flat[name] = &flat{}
	}
	if len(names) == 0 {
		return c, nil
	}
	first, err := set.At(ctx, 0)
	if err != nil {
		return nil, err
	}
	groups, err := Groups(g, names, first)
	if err != nil {
		return nil, err
	}
	for i, group := range groups {
		told := func(done int) {
			if progress != nil {
				progress(i*set.Len()+done, len(groups)*set.Len())
			}
		}
		see := func(out []*tensor.Tensor) error { return c.observe(group, out, o.Pool) }
		if err := Run(ctx, g, set, group, see, o.Pool, told); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// observer gives what has seen v, or what v was moved from: a range that holds v.
func (c *Calibration) observer(v *ir.Value) calib.Observer {
	for {
		if o := c.Observers[v.Name]; o != nil {
			return o
		}
		if v.Producer == nil || !quant.Moves(v.Producer) {
			return nil
		}
		v = v.Producer.In[0]
	}
}

// storesSome reports whether a graph has weights that are stored in 8 bits, which needs no
// samples.
func storesSome(g *ir.Graph, o *Options) bool {
	p := newPlan(g, o, func(*ir.Value) bool { return true })
	for _, r := range p.role {
		if r == roleStored || r == roleEmbed {
			return true
		}
	}
	return inside(g, func(*ir.Node) error { return errNothing }) != nil
}

// watched lists the values of which ranges may be wanted, in the graph's order.
// What is only moved has the range of what it was.
func watched(g *ir.Graph, o *Options) []string {
	p := newPlan(g, o, func(*ir.Value) bool { return true })
	var names []string
	add := func(v *ir.Value) {
		if v != nil && p.types[v] != 0 && (v.Producer == nil || p.role[v.Producer] != roleMove || !p.integer[v.Producer]) {
			names = append(names, v.Name)
		}
	}
	for _, v := range g.Inputs {
		add(v)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			add(v)
		}
	}
	return names
}

// Groups cuts a list of values into such as one run keeps at a time, by what they take
// with the inputs in.
func Groups(g *ir.Graph, names []string, in []*tensor.Tensor) ([][]string, error) {
	facts := make([]op.Fact, len(in))
	for i, t := range in {
		facts[i] = op.Fact{Type: ir.TypeOf(t), Present: true}
	}
	bound, err := op.Bind(g, facts)
	if err != nil {
		return nil, err
	}
	bytes := map[string]int{}
	for v, f := range bound {
		if n, ok := f.Shape.Count().Int(); ok && f.Shape != nil {
			bytes[v.Name] = 4 * n
		}
	}
	var groups [][]string
	total := 0
	for _, name := range names {
		if total += bytes[name]; total > watchedBytes || len(groups) == 0 {
			groups, total = append(groups, nil), bytes[name]
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], name)
	}
	return groups, nil
}

// Run computes some values of a graph, by their names, on all samples, and shows
// them to see, one sample after the other; they are the caller's until it returns.
// Nothing else is kept: the graph that runs is a copy, optimized around them. told
// hears how many samples are done.
func Run(ctx context.Context, g *ir.Graph, set samples.Set, names []string, see func(out []*tensor.Tensor) error, p *pool.Pool, told func(done int)) error {
	values := map[string]*ir.Value{}
	g = g.Clone()
	for _, v := range g.Inputs {
		values[v.Name] = v
	}
	for _, n := range g.Nodes {
		for _, v := range n.Out {
			if v != nil {
				values[v.Name] = v
			}
		}
	}
	for len(g.Outputs) > 0 { // they need not be computed
		last := len(g.Outputs) - 1
		g.SetOutput(last, nil)
		g.Outputs = g.Outputs[:last]
	}
	for _, name := range names {
		g.AddOutput(name, values[name])
	}
	g.RemoveDead()
	if _, err := pass.Run(g, passes.All, pass.Options{Level: pass.MaxLevel, Pool: p, Context: ctx}); err != nil {
		return err
	}
	s := exec.New(g, exec.Options{Pool: p})
	defer s.Close()
	for i := range set.Len() {
		in, err := set.At(ctx, i)
		if err != nil {
			return err
		}
		out, err := s.Run(ctx, in)
		if err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
		if err := see(out); err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
		told(i + 1)
	}
	return nil
}

// observe shows one sample's activations to their observers.
func (c *Calibration) observe(names []string, out []*tensor.Tensor, p *pool.Pool) error {
	t := &observation{names: names, out: out, c: c, errs: make([]error, len(names))}
	p.Run(len(names), t)
	return errors.Join(t.errs...)
}

type observation struct {
	names []string
	out   []*tensor.Tensor
	c     *Calibration
	errs  []error
}

// Do observes one value.
func (t *observation) Do(i int) {
	x := tensor.Of[float32](t.out[i])
	if err := t.c.Observers[t.names[i]].Observe(x); err != nil {
		t.errs[i] = fmt.Errorf("activation %q: %w", t.names[i], err)
	}
	t.c.flat[t.names[i]].observe(x)
}
