package recurrent

import "github.com/salver-ml/salver/internal/op"

// step computes the gates of sequence w.batch at time w.t, its new state, and
// its output. Products and sums are rounded one by one.
func (k *kernel) step(l *direction, w *work) {
	h := w.h[w.batch*k.hidden:][:k.hidden]
	switch k.name {
	case "RNN":
		k.sum(w)
		k.limit(w.gates)
		l.acts[0](w.gates)
		copy(h, w.gates)
	case "GRU":
		k.gruStep(l, w, h)
	default:
		k.lstmStep(l, w, h)
	}
	if w.out != nil {
		copy(w.out[k.outputAt(w.t, w.dir, w.batch):], h)
	}
}

// sum adds what the input and the state give to all gates.
func (k *kernel) sum(w *work) {
	x, r := k.input(w), w.r[w.batch*len(w.gates):]
	for i := range w.gates {
		w.gates[i] = x[i] + r[i]
	}
}

func (k *kernel) limit(x []float32) {
	if k.clip <= 0 {
		return
	}
	for i, v := range x {
		x[i] = max(-k.clip, min(k.clip, v))
	}
}

// gate is gate number i of the row of gates.
func (k *kernel) gate(w *work, i int) []float32 { return w.gates[i*k.hidden : (i+1)*k.hidden] }

// activate limits a gate and applies activation number a.
func (k *kernel) activate(l *direction, gate []float32, a int) {
	k.limit(gate)
	l.acts[a](gate)
}

func (k *kernel) lstmStep(l *direction, w *work, h []float32) {
	k.sum(w)
	c := w.c[w.batch*k.hidden:][:k.hidden]
	in, out, forget, cell := k.gate(w, 0), k.gate(w, 1), k.gate(w, 2), k.gate(w, 3)
	k.peephole(l, in, c, 0)
	k.activate(l, in, 0)
	if k.coupled {
		for i := range forget {
			forget[i] = 1 - in[i]
		}
	} else {
		k.peephole(l, forget, c, 2)
		k.activate(l, forget, 0)
	}
	k.activate(l, cell, 1)
	for i := range c {
		c[i] = float32(forget[i]*c[i]) + float32(in[i]*cell[i])
	}
	k.peephole(l, out, c, 1)
	k.activate(l, out, 0)
	copy(cell, c)
	l.acts[2](cell)
	for i := range h {
		h[i] = out[i] * cell[i]
	}
}

// peephole adds peephole weights number which times the cells to a gate.
func (k *kernel) peephole(l *direction, gate, c []float32, which int) {
	if l.peep == nil {
		return
	}
	p := l.peep[which*k.hidden:]
	for i := range gate {
		gate[i] += float32(p[i] * c[i])
	}
}

// candidate multiplies R's last gate with the states, or with the states that
// the reset gates let through.
func (k *kernel) candidate(c *op.Call, l *direction, w *work, i int) error {
	state := w.h
	if !k.linear {
		state = w.reset
		copy(state, w.h)
		for b := range k.batch {
			if !k.begin(c.Node, w, b, i) {
				continue
			}
			r := w.extra
			x, rec := k.input(w)[k.hidden:], w.r[b*len(w.gates)+k.hidden:]
			for j := range r {
				r[j] = x[j] + rec[j]
			}
			k.activate(l, r, 0)
			for j := range r {
				state[b*k.hidden+j] *= r[j]
			}
		}
	}
	l.r2.A.Data, l.r2.C.Data = state, w.r[2*k.hidden:]
	return k.multiply(c, &l.r2, w)
}

func (k *kernel) gruStep(l *direction, w *work, h []float32) {
	x, r := k.input(w), w.r[w.batch*len(w.gates):]
	update, reset, next := k.gate(w, 0), k.gate(w, 1), k.gate(w, 2)
	for i := range 2 * k.hidden {
		w.gates[i] = x[i] + r[i]
	}
	k.activate(l, update, 0)
	k.activate(l, reset, 0)
	for i := range next {
		inner := r[2*k.hidden+i]
		if k.linear {
			inner = float32(reset[i] * (inner + l.inner[i]))
		}
		next[i] = x[2*k.hidden+i] + inner
	}
	k.activate(l, next, 1)
	for i := range h {
		h[i] = float32((1-update[i])*next[i]) + float32(update[i]*h[i])
	}
}
