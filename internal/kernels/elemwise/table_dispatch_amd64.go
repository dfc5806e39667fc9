//go:build !noasm

package elemwise

import "github.com/salver-ml/salver/internal/cpu"

//go:generate go -C ../../../tools/asmgen run . elemwise_table -out ../../internal/kernels/elemwise/table_amd64.s

func lookupFor() lookup {
	switch {
	case cpu.Has().VBMI:
		return lookupVBMI
	case cpu.Level() >= cpu.AVX2:
		return lookupAVX2
	}
	return portableLookup
}

func lookupVBMI(dst, src []byte, table, _ *[256]byte) {
	if len(src) > 0 {
		tableVBMI(&dst[0], &src[0], len(src), &table[0])
	}
}

func lookupAVX2(dst, src []byte, table, changes *[256]byte) {
	n := len(src) &^ 63
	if n > 0 {
		tableAVX2(&dst[0], &src[0], n, &changes[0])
	}
	portableLookup(dst[n:], src[n:], table, changes)
}
