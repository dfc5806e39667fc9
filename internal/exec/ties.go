package exec

import (
	"sync"
	"sync/atomic"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// tie is a dimension of an input for which the graph states a sum of others: what has been
// made of the graph is right for inputs of such sizes only (op.TieSizes).
type tie struct {
	of  axis
	sum []axis
}

// axis is a dimension of an input.
type axis struct{ input, at int }

// tiesOf lists the ties of a graph.
func tiesOf(g *ir.Graph) (ties []tie) {
	where := map[string]axis{}
	for i, v := range g.Inputs {
		for j, d := range v.Type.Shape {
			if s, ok := d.Symbol(); ok {
				where[s] = axis{i, j}
			}
		}
	}
	for i, v := range g.Inputs {
		for j, d := range v.Type.Shape {
			names, ok := d.Sum()
			if !ok || len(names) < 2 {
				continue
			}
			t := tie{of: axis{i, j}}
			for _, s := range names {
				t.sum = append(t.sum, where[s])
			}
			ties = append(ties, t)
		}
	}
	return ties
}

// size is that of a dimension; false for inputs that are wrong anyway.
func (a axis) size(inputs []*tensor.Tensor) (int, bool) {
	if a.input >= len(inputs) || inputs[a.input] == nil || a.at >= len(inputs[a.input].Shape) {
		return 0, false
	}
	return inputs[a.input].Shape[a.at], true
}

// breaks reports whether inputs have another size than the sum.
func (t *tie) breaks(inputs []*tensor.Tensor) bool {
	have, ok := t.of.size(inputs)
	if !ok {
		return false
	}
	want := 0
	for _, a := range t.sum {
		n, ok := a.size(inputs)
		if !ok {
			return false
		}
		want += n
	}
	return have != want
}

// untied makes the session for inputs that break a tie, once there are such.
type untied struct {
	session atomic.Pointer[Session] // nil until it is made
	get     func() (*Session, error)
}

// newUntied makes that of s. The session shares what is packed of constants that both
// graphs have, and its other packed weights count with those of s.
func newUntied(s *Session, o Options) *untied {
	u := &untied{}
	u.get = sync.OnceValues(func() (made *Session, err error) {
		defer func() {
			if v := recover(); v != nil {
				made, err = nil, Panicked("", v)
			}
		}()
		g, err := o.Untied()
		if err != nil {
			return nil, err
		}
		o.Chooser, o.Untied = nil, nil // choices are for the nodes of one graph
		made = newSession(g, o, s.weights)
		if o.OwnConstants {
			s.weights.register(g)
		}
		u.session.Store(made)
		return made, nil
	})
	return u
}

// takes gives the session that is to run inputs: s, or that for inputs that break a tie.
func (s *Session) takes(inputs []*tensor.Tensor) (*Session, error) {
	for i := range s.ties {
		if s.ties[i].breaks(inputs) {
			return s.untied.get()
		}
	}
	return s, nil
}
