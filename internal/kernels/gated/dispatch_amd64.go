//go:build !noasm

package gated

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . gated -out ../../internal/kernels/gated/gated_amd64.s

// ForLSTM gives the kernel of the level in force, or nil where there is none.
func ForLSTM() LSTM {
	switch l := cpu.Level(); {
	case l >= cpu.AVX512:
		return func(gates []float32, stride int, c, h []float32) { lstm(lstmAVX512, gates, stride, c, h) }
	case l >= cpu.AVX2:
		return func(gates []float32, stride int, c, h []float32) { lstm(lstmAVX2, gates, stride, c, h) }
	}
	return nil
}

func lstm(f func(gates *float32, stride int, c, h *float32, n int), gates []float32, stride int, c, h []float32) {
	if n := len(c); n > 0 {
		_, _ = gates[3*stride+n-1], h[n-1]
		f(&gates[0], stride, &c[0], &h[0], n)
	}
}

// ForGRU gives the kernel of the level in force, or nil where there is none.
func ForGRU() GRU {
	switch l := cpu.Level(); {
	case l >= cpu.AVX512:
		return func(gates []float32, stride int, x, h, next []float32) {
			gru(gruAVX512, gruLinearAVX512, gates, stride, x, h, next)
		}
	case l >= cpu.AVX2:
		return func(gates []float32, stride int, x, h, next []float32) {
			gru(gruAVX2, gruLinearAVX2, gates, stride, x, h, next)
		}
	}
	return nil
}

func gru(f func(gates *float32, stride int, h, next *float32, n int), linear func(gates *float32, stride int, x, h, next *float32, n int), gates []float32, stride int, x, h, next []float32) {
	n := len(h)
	if n == 0 {
		return
	}
	_, _ = gates[2*stride+n-1], next[n-1]
	if x == nil {
		f(&gates[0], stride, &h[0], &next[0], n)
		return
	}
	_ = x[n-1]
	linear(&gates[0], stride, &x[0], &h[0], &next[0], n)
}
