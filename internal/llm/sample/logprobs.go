package sample

import (
	"cmp"
	"math"
	"slices"

	"github.com/salver-ml/salver/internal/kernels/softmax"
	"github.com/salver-ml/salver/internal/textgen"
)

// Logprobs gives the natural logarithm of a token's probability by the model
// itself, before bias, penalties, temperature and filters, and those of the n
// likeliest tokens, the likeliest first.
func Logprobs(logits []float32, id int32, n int) (chosen float32, top []textgen.Alternative) {
	z := logSum(logits)
	chosen = float32(float64(logits[id]) - z)
	if n == 0 {
		return chosen, nil
	}
	order := make([]int32, 0, n+1)
	better := func(a, b int32) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	}
	for i, x := range logits {
		if len(order) == n && x <= logits[order[n-1]] {
			continue
		}
		at, _ := slices.BinarySearchFunc(order, int32(i), better)
		if at >= n {
			continue
		}
		order = slices.Insert(order, at, int32(i))
		order = order[:min(n, len(order))]
	}
	for _, i := range order {
		top = append(top, textgen.Alternative{ID: i, Logprob: float32(float64(logits[i]) - z)})
	}
	return chosen, top
}

// logSum is the logarithm of the sum of e^x.
func logSum(logits []float32) float64 {
	m := logits[argmax(logits)]
	sum := 0.
	var buf [4096]float32
	for len(logits) > 0 {
		n := min(len(buf), len(logits))
		sum += float64(softmax.ExpSum(buf[:n], logits[:n], m))
		logits = logits[n:]
	}
	return float64(m) + math.Log(sum)
}
