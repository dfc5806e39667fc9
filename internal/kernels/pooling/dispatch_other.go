//go:build !amd64 || noasm

package pooling

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
)

func forLevel(l cpu.Target) *kernels { return portableOf(conv.Block(l)) }
