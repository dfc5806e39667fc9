//go:build !amd64 || noasm

package conv

import "github.com/salver-ml/salver/internal/cpu"

func forLevel(l cpu.Target) *kernels { return portableOf(Block(l)) }
