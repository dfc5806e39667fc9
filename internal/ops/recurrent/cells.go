package recurrent

import (
	"github.com/salver-ml/salver/internal/ir"
	"github.com/salver-ml/salver/internal/op"
)

func init() {
	cell{
		name: "RNN", gates: 1, defaults: []string{"Tanh"}, outputs: 2, run: rnn,
		attrs: op.Attrs{"activations": op.Default(ir.Strs("Tanh", "Tanh"))},
	}.register()
	cell{
		name: "GRU", gates: 3, defaults: []string{"Sigmoid", "Tanh"}, outputs: 2, run: gru,
		attrs: op.Attrs{"linear_before_reset": op.Default(ir.Int(0))},
	}.register()
	cell{
		name: "LSTM", gates: 4, defaults: []string{"Sigmoid", "Tanh", "Tanh"}, outputs: 3, run: lstm,
		inputs: []string{"initial_c:T?", "P:T?"}, attrs: op.Attrs{"input_forget": op.Default(ir.Int(0))},
	}.register()
}

// rnn: h = f(W·x + R·h + b).
func rnn(l *layer) step {
	next := make([]float64, l.hidden)
	return func(x, h, _ []float64) {
		for k := range next {
			in, rec := l.gate(0, k, x, h)
			next[k] = l.acts[0](l.clamp(in + rec))
		}
		copy(h, next)
	}
}

// gru, gates in the order z (update), r (reset), h (candidate):
//
//	h = (1-z)·g(W·x + R·(r·h)) + z·h, or g(W·x + r·(R·h)) with linear_before_reset.
func gru(l *layer) step {
	linear := l.node.Bool("linear_before_reset")
	z, r, reset, next := make([]float64, l.hidden), make([]float64, l.hidden), make([]float64, l.hidden), make([]float64, l.hidden)
	return func(x, h, _ []float64) {
		for k := range z {
			in, rec := l.gate(0, k, x, h)
			z[k] = l.acts[0](l.clamp(in + rec))
			in, rec = l.gate(1, k, x, h)
			r[k] = l.acts[0](l.clamp(in + rec))
			reset[k] = r[k] * h[k]
		}
		for k := range next {
			var candidate float64
			if linear {
				in, rec := l.gate(2, k, x, h)
				candidate = in + r[k]*rec
			} else {
				in, rec := l.gate(2, k, x, reset)
				candidate = in + rec
			}
			next[k] = (1-z[k])*l.acts[1](l.clamp(candidate)) + z[k]*h[k]
		}
		copy(h, next)
	}
}

// lstm, gates in the order i, o, f, c; peepholes in the order i, o, f:
//
//	c = f·c + i·g(…), h = o·h(c); with input_forget, f = 1 - i.
func lstm(l *layer) step {
	coupled := l.node.Bool("input_forget")
	next := make([]float64, l.hidden)
	peep := func(which, k int, c float64) float64 {
		if l.peep == nil {
			return 0
		}
		return l.peep[which*l.hidden+k] * c
	}
	sum := func(gate, k int, x, h []float64) float64 {
		in, rec := l.gate(gate, k, x, h)
		return in + rec
	}
	return func(x, h, c []float64) {
		for k := range next {
			i := l.acts[0](l.clamp(sum(0, k, x, h) + peep(0, k, c[k])))
			f := 1 - i
			if !coupled {
				f = l.acts[0](l.clamp(sum(2, k, x, h) + peep(2, k, c[k])))
			}
			c[k] = f*c[k] + i*l.acts[1](l.clamp(sum(3, k, x, h)))
			o := l.acts[0](l.clamp(sum(1, k, x, h) + peep(1, k, c[k])))
			next[k] = o * l.acts[2](c[k])
		}
		copy(h, next)
	}
}
