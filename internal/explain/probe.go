package explain

import (
	"context"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// Samples are inputs of a model that are read when they are asked for.
type Samples interface {
	// Len is the number of samples.
	Len() int
	// At gives the inputs of sample i in the graph's order, until the next call.
	At(ctx context.Context, i int) ([]*tensor.Tensor, error)
}

// One is a single sample.
type One []*tensor.Tensor

// Len is 1.
func (One) Len() int { return 1 }

// At gives the sample.
func (o One) At(context.Context, int) ([]*tensor.Tensor, error) { return o, nil }

// Probe runs a graph and gives values that are no outputs of it.
type Probe struct {
	g       *ir.Graph
	session *exec.Session
	known   int // outputs that the graph has of its own
}

// NewProbe prepares a graph, which must not change until the probe is closed.
func NewProbe(g *ir.Graph, values []*ir.Value, o exec.Options) *Probe {
	p := &Probe{g: g, known: len(g.Outputs)}
	for _, v := range values {
		g.AddOutput(v.Name, v)
	}
	p.session = exec.New(g, o)
	return p
}

// Run gives the values in the order in which they were asked for, and the graph's outputs.
func (p *Probe) Run(ctx context.Context, in []*tensor.Tensor) (values, outputs []*tensor.Tensor, err error) {
	all, err := p.session.Run(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	return all[p.known:], all[:p.known], nil
}

// Close leaves the graph with the outputs that it had.
func (p *Probe) Close() {
	p.session.Close()
	for i := p.known; i < len(p.g.Outputs); i++ {
		p.g.SetOutput(i, nil)
	}
	p.g.Outputs = p.g.Outputs[:p.known]
}
