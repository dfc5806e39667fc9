package exec

import (
	"sync"

	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/tensor"
)

// tie is a dimension of an input for which the graph states a sum of others: what has been
// made of the graph is right for inputs of such sizes only (op.TieSizes).
type tie struct {
	of   axis
	sum  []axis
	plus int
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
			names, c, ok := d.Sum()
			if !ok || len(names) == 0 || c == 0 && len(names) == 1 {
				continue
			}
			t := tie{of: axis{i, j}, plus: c}
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
	want := t.plus
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
	mu      sync.Mutex
	make    func() (*Session, error)
	session *Session
}

// get gives the session, nil if there is none yet and it is not to be made.
func (u *untied) get(make bool) (*Session, error) {
	if u == nil {
		return nil, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.session == nil && make {
		s, err := u.make()
		if err != nil {
			return nil, err
		}
		u.session = s
	}
	return u.session, nil
}

// takes gives the session that is to run inputs: s, or that for inputs that break a tie.
func (s *Session) takes(inputs []*tensor.Tensor) (*Session, error) {
	for i := range s.ties {
		if s.ties[i].breaks(inputs) {
			return s.untied.get(true)
		}
	}
	return s, nil
}
