//go:build !amd64 || noasm

package pooling

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/kernels/conv"
	"github.com/salver-ml/salver/internal/kernels/window"
)

func kernelsFor(kind Kind, level cpu.Target) []window.TileFunc {
	return portableKernels(kind, conv.Block(level))
}

func rowsFor(Kind, cpu.Target) ([mostRowStride]rowFunc, [mostRowStride]planesFunc) {
	return [mostRowStride]rowFunc{}, [mostRowStride]planesFunc{}
}
