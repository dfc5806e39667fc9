// Package blend computes weighted sums of rows of float32, which interpolation and deformed
// convolutions are made of. A sum begins with its first product; each product and each sum is
// rounded, in the order of the rows, so all levels give the same bits.
package blend

import "unsafe"

// callElements bounds what a call reads; it can't be preempted.
const callElements = 1 << 18

// Rows computes dst[j] = Σ weights[k] · src[offsets[k]/4+j]: offsets are in bytes. There is
// at least one.
func Rows(dst, src []float32, offsets []int, weights []float32) {
	weights = weights[:len(offsets)]
	for _, o := range offsets {
		_ = src[o/4:][:len(dst)]
	}
	most := max(callElements/len(offsets), 1)
	for from := 0; from < len(dst); from += most {
		n := min(most, len(dst)-from)
		rows((*float32)(unsafe.Pointer(&dst[from])), (*float32)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(src)), 4*from)),
			&offsets[0], &weights[0], len(offsets), n)
	}
}

// portable is the specification of the kernels.
func portable(dst, src *float32, offsets *int, weights *float32, taps, n int) {
	to, from, w := unsafe.Slice(dst, n), unsafe.Slice(offsets, taps), unsafe.Slice(weights, taps)
	for k, o := range from {
		row := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(src), o)), n)
		if k == 0 {
			for j, v := range row {
				to[j] = w[0] * v
			}
			continue
		}
		for j, v := range row {
			to[j] += float32(w[k] * v)
		}
	}
}
