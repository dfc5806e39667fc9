//go:build !amd64 || noasm

package qconv

import "github.com/salver-ml/salver/internal/cpu"

func forLevel(cpu.Target) *kernels { return &portable }
