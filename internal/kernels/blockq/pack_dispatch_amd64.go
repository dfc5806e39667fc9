//go:build !noasm

package blockq

import (
	"github.com/salver-ml/salver/internal/cpu"
	"github.com/salver-ml/salver/internal/dtype/block"
)

//go:generate go -C ../../../tools/asmgen run . blockq_pack -out ../../internal/kernels/blockq/pack_amd64.s

var packAVX2 = packKernels{
	block.Q4_0:   packQ4_0AVX2,
	block.Q4_1:   packQ4_1AVX2,
	block.Q5_0:   packQ5_0AVX2,
	block.Q5_1:   packQ5_1AVX2,
	block.Q8_0:   packQ8_0AVX2,
	block.Q2_K:   packQ2_KAVX2,
	block.Q3_K:   packQ3_KAVX2,
	block.Q4_K:   packQ4_KAVX2,
	block.Q5_K:   packQ5_KAVX2,
	block.Q6_K:   packQ6_KAVX2,
	block.IQ4_NL: packQ4_0AVX2,
	block.IQ4_XS: packIQ4_XSAVX2,
	block.MXFP4:  packMXFP4AVX2,
}

func packKernelsOf() packKernels {
	if cpu.Level() >= cpu.AVX2 {
		return packAVX2
	}
	return nil
}
