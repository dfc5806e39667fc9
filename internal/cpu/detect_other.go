//go:build !amd64 || noasm

package cpu

func detect() machine { return machine{level: Generic} }
