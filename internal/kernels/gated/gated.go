// Package gated has a step of recurrent cells with their usual functions in one sweep:
// sigmoid for gates, the hyperbolic tangent for states. Each operation is rounded by
// itself, and functions are those of package elemwise, so a cell has the bits that its
// operations have one after the other.
package gated

// An LSTM turns the gates of a sequence into its states: c = f·c + i·g and h = o·tanh(c).
// Gates i, o, f and g lie stride elements apart; as many of each count as c has.
type LSTM func(gates []float32, stride int, c, h []float32)

// A GRU turns the gates of a sequence into its next state, (1-z)·g + z·h. Gates z, r and
// g lie stride elements apart. With x, what the inputs give to g, that is x + r·g first;
// without, r does not count. next may be h.
type GRU func(gates []float32, stride int, x, h, next []float32)
