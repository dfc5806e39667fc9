//go:build !noasm

package blockq

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . blockq_pack -out ../../internal/kernels/blockq/pack_amd64.s

var packAVX2 = packKernels{quads: zipQuadsAVX2, halves: zipNibblesAVX2}

func packKernelsOf() *packKernels {
	if cpu.Level() >= cpu.AVX2 {
		return &packAVX2
	}
	return nil
}
