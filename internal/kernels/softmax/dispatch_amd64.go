//go:build amd64 && !noasm

package softmax

//go:generate go -C ../../../tools/asmgen run . softmax -out ../../internal/kernels/softmax/softmax_amd64.s

func init() {
	tables = append(tables,
		&table{expSum: expSumAVX2, row: softmaxRowAVX2, exps: expsAVX2, powers: powersAVX2},
		&table{expSum: expSumAVX512, row: softmaxRowAVX512, exps: expsAVX512, powers: powersAVX512},
		&table{expSum: expSumAVX512, row: softmaxRowAVX512, exps: expsAVX512, powers: powersAVX512, weights: weightsAMX})
}
