//go:build !noasm

package blend

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . blend -out ../../internal/kernels/blend/rows_amd64.s

func kernel() rowsFunc {
	switch l := cpu.Level(); {
	case l >= cpu.AVX512:
		return rowsAVX512
	case l >= cpu.AVX2:
		return rowsAVX2
	}
	return portable
}
