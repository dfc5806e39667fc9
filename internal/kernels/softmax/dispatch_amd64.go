//go:build amd64 && !noasm

package softmax

//go:generate go -C ../../../tools/asmgen run . softmax -out ../../internal/kernels/softmax/softmax_amd64.s

func init() {
	tables = append(tables, &table{expSumAVX2, softmaxRowAVX2}, &table{expSumAVX512, softmaxRowAVX512})
}
