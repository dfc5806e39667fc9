//go:build !amd64 || noasm

package attn

import "github.com/salver-ml/salver/internal/cpu"

func kernelsOf(cpu.Target) *kernels { return &portable }
