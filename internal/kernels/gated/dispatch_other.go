//go:build !amd64 || noasm

package gated

// ForLSTM and ForGRU give nil: there are no kernels.
func ForLSTM() LSTM { return nil }

// ForGRU is like ForLSTM.
func ForGRU() GRU { return nil }
