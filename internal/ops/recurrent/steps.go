package recurrent

// resets reports whether R's last gate is multiplied with states that the reset
// gates have let through, which takes a second phase of a step.
func (k *kernel) resets() bool { return k.name == "GRU" && !k.linear }

// phases of a step: in each, a piece needs of others only what earlier ones gave.
func (k *kernel) phases() int {
	if k.resets() {
		return 2
	}
	return 1
}

// blocks of gates, each of which is multiplied alike: GRU's candidate is apart, since its
// product comes in a phase of its own, or has its own bias.
func (k *kernel) blocks() int {
	if k.name == "GRU" {
		return 2
	}
	return 1
}

// gatesOf gives the first gate of a block, and their number.
func (k *kernel) gatesOf(block int) (first, gates int) {
	switch {
	case k.name != "GRU":
		return 0, k.gates
	case block == 0:
		return update, 2
	}
	return candidate, 1
}

// advance runs a phase of step i of a piece: the gates of its sequences, their new
// states, and their outputs. Products and sums are rounded one by one.
func (k *kernel) advance(p *piece, i, phase int) {
	s := &k.run.states[p.direction]
	state := s.h
	if phase == 1 {
		state = s.reset
	}
	k.multiply(p, state, phase, i)
	for b := p.row; b < p.end; b++ {
		for _, x := range p.parts {
			w := k.row(p, x, b, i)
			switch {
			case w.over:
				copy(w.next, w.h)
			case k.resets() && phase == 0:
				k.reset(&w)
			default:
				k.finish(&w)
			}
		}
	}
}

// A row is a part of a sequence at a step.
type row struct {
	l       *direction
	gates   []float32    // one after the other
	gate    [4][]float32 // first what the states give, then the gates
	x       [4][]float32 // what the input gives to them
	h, next []float32
	c       []float32
	reset   []float32
	out     []float32 // or nil
	col     int       // the first element of the part
	over    bool
}

func (k *kernel) row(p *piece, part elements, b, i int) row {
	s, d := &k.run.states[p.direction], k.run.first+p.direction
	w := row{l: &k.dir[d], col: part.col}
	of := func(v []float32) []float32 {
		if len(v) == 0 {
			return nil
		}
		v = v[b*lines(k.hidden):]
		return v[part.col:part.last]
	}
	w.h, w.next, w.c, w.reset = of(s.h), of(s.next), of(s.c), of(s.reset)
	t, ok := k.time(d, b, i)
	if !ok {
		w.over = true
		return w
	}
	g := k.gates * k.hidden
	from, n := k.gates*part.col, part.width()
	x := s.x[k.inputAt(t, b)/k.in*g+from:]
	w.gates = s.gates[b*lines(g)+from:][:k.gates*n]
	for j := range k.gates {
		w.gate[j], w.x[j] = w.gates[j*n:][:n], x[j*n:][:n]
	}
	if k.run.out != nil {
		w.out = k.run.out[k.outputAt(t, d, b):][part.col:part.last]
	}
	return w
}

// finish computes the new state from the products.
func (k *kernel) finish(w *row) {
	switch k.name {
	case "RNN":
		k.sum(w, 0)
		k.activate(w, 0, 0)
		copy(w.next, w.gate[0])
	case "GRU":
		k.gru(w)
	default:
		k.lstm(w)
	}
	if w.out != nil {
		copy(w.out, w.next)
	}
}

// sum adds what the input gives to a gate, where that is not there yet.
func (k *kernel) sum(w *row, gate int) {
	if !k.run.joined {
		k.add(w.gate[gate], w.x[gate], w.gate[gate], 1, 1)
	}
}

// activate limits a gate and applies activation number a.
func (k *kernel) activate(w *row, gate, a int) {
	x := w.gate[gate]
	if k.clip > 0 {
		for i, v := range x {
			x[i] = max(-k.clip, min(k.clip, v))
		}
	}
	w.l.acts[a](x)
}

// one is the operand of 1 - x.
var one = []float32{1}

func (k *kernel) lstm(w *row) {
	const input, output, forget, cell = 0, 1, 2, 3
	for g := range k.gates {
		k.sum(w, g)
	}
	if k.lstmCell != nil {
		k.lstmCell(w.gates, len(w.c), w.c, w.next)
		return
	}
	k.peephole(w, input, 0)
	k.activate(w, input, 0)
	if k.coupled {
		k.sub(w.gate[forget], one, w.gate[input], 0, 1)
	} else {
		k.peephole(w, forget, 2)
		k.activate(w, forget, 0)
	}
	k.activate(w, cell, 1)
	k.mul(w.gate[forget], w.gate[forget], w.c, 1, 1)
	k.mul(w.gate[input], w.gate[input], w.gate[cell], 1, 1)
	k.add(w.c, w.gate[forget], w.gate[input], 1, 1)
	k.peephole(w, output, 1)
	k.activate(w, output, 0)
	copy(w.gate[cell], w.c)
	w.l.acts[2](w.gate[cell])
	k.mul(w.next, w.gate[output], w.gate[cell], 1, 1)
}

// peephole adds peephole weights number which times the cells to a gate.
func (k *kernel) peephole(w *row, gate, which int) {
	if w.l.peep == nil {
		return
	}
	p, x := w.l.peep[which*k.hidden+w.col:], w.gate[gate]
	for i := range x {
		x[i] += float32(p[i] * w.c[i])
	}
}

// GRU's gates.
const update, reset, candidate = 0, 1, 2

// reset computes the states that the reset gates let through.
func (k *kernel) reset(w *row) {
	k.sum(w, reset)
	k.activate(w, reset, 0)
	k.mul(w.reset, w.h, w.gate[reset], 1, 1)
}

func (k *kernel) gru(w *row) {
	k.sum(w, update)
	if k.linear && !k.run.joined {
		k.sum(w, reset)
		k.add(w.gate[candidate], w.gate[candidate], w.l.inner[w.col:], 1, 1)
	}
	if !k.linear {
		k.sum(w, candidate)
	}
	if k.gruCell != nil {
		var x []float32
		if k.linear {
			x = w.x[candidate]
		}
		k.gruCell(w.gates, len(w.h), x, w.h, w.next)
		return
	}
	k.activate(w, update, 0)
	if k.linear {
		k.activate(w, reset, 0)
		k.mul(w.gate[candidate], w.gate[reset], w.gate[candidate], 1, 1)
		k.add(w.gate[candidate], w.x[candidate], w.gate[candidate], 1, 1)
	}
	k.activate(w, candidate, 1)
	z, rest := w.gate[update], w.gate[reset]
	k.sub(rest, one, z, 0, 1)
	k.mul(rest, rest, w.gate[candidate], 1, 1)
	k.mul(z, z, w.h, 1, 1)
	k.add(w.next, rest, z, 1, 1)
}
