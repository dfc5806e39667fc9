//go:build !amd64 || noasm

package blockq

import (
	"unsafe"

	"github.com/salver-ml/salver/internal/cpu"
)

func forLevel(cpu.Target) *kernels { return &portable }

// tileConfig is for kernels that there are not.
func tileConfig(int, kind) unsafe.Pointer { return nil }
