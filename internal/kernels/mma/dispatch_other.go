//go:build !amd64 || noasm

package mma

import "github.com/salver-ml/salver/internal/cpu"

// For gives the kernels of a level: there are only portable ones.
func For(cpu.Target) *Kernels { return specified.Load() }
