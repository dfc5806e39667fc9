package image

import "math"

// findInVolume is find for a point of three coordinates.
func (k *gridKernel) findInVolume(b *pixelBlock, i int, point []float32) {
	if k.insideVolume(b, i, k.pixel(point[0], k.w), k.pixel(point[1], k.h), k.pixel(point[2], k.d)) {
		return
	}
	var columns, rows, planes [4]tap
	nx, ny, nz := k.along(&columns, point[0], k.w), k.along(&rows, point[1], k.h), k.along(&planes, point[2], k.d)
	n := 0
	for _, p := range planes[:nz] {
		for _, r := range rows[:ny] {
			weight, row := p.weight*r.weight, (p.at*k.h+r.at)*k.w
			for _, c := range columns[:nx] {
				b.at[i][n], b.weight[i][n] = int32(row+c.at), float32(weight*c.weight)
				n++
			}
		}
	}
	b.n[i] = uint8(n)
}

// insideVolume is inside for a point of three coordinates.
func (k *gridKernel) insideVolume(b *pixelBlock, i int, x, y, z float64) bool {
	if !(x >= 0 && x < float64(k.w-1) && y >= 0 && y < float64(k.h-1) && z >= 0 && z < float64(k.d-1)) {
		return false
	}
	at, weight := &b.at[i], &b.weight[i]
	b.n[i] = uint8(k.taps)
	if k.taps == 1 {
		plane, row, column := int(math.RoundToEven(z)), int(math.RoundToEven(y)), int(math.RoundToEven(x))
		at[0], weight[0] = int32((plane*k.h+row)*k.w+column), 1
		return true
	}
	plane, row, column := int(z), int(y), int(x)
	front := int32((plane*k.h+row)*k.w + column)
	behind, below := int32(k.h*k.w), int32(k.w)
	at[0], at[1], at[2], at[3] = front, front+1, front+below, front+below+1
	at[4], at[5], at[6], at[7] = front+behind, front+behind+1, front+behind+below, front+behind+below+1
	right, down, far := x-float64(column), y-float64(row), z-float64(plane)
	left, up, near := 1-right, 1-down, 1-far
	nearUp, nearDown, farUp, farDown := near*up, near*down, far*up, far*down
	weight[0], weight[1], weight[2], weight[3] = float32(nearUp*left), float32(nearUp*right), float32(nearDown*left), float32(nearDown*right)
	weight[4], weight[5], weight[6], weight[7] = float32(farUp*left), float32(farUp*right), float32(farDown*left), float32(farDown*right)
	return true
}
