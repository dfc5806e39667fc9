package elemwise

import "unsafe"

// shortMost is the longest row that is joined with its neighbours: one by one such rows
// take longer to call for than to compute.
const shortMost = 64

// joinedBytes is the room for a joined operand; two of them fit a chunk's scratch.
const joinedBytes = 4 * block

// An operandShape says where an operand of joined rows lies: from row to row, and along one.
type operandShape struct{ outer, inner int }

// joins reports whether rows are joined: where they are short, and there are several.
func (k *BinaryKernel) joins() bool {
	return k.n <= shortMost && len(k.dims) > 1 && k.scratch != nil && !k.narrow
}

// doJoined computes elements lo to hi, rows in blocks of many: operands that do not lie
// side by side are first copied so.
func (k *BinaryKernel) doJoined(lo, hi int, scratch []float32) {
	last := len(k.dims) - 1
	rows, n := k.dims[last-1], k.n
	var shape [2]operandShape
	for i := range shape {
		shape[i] = operandShape{k.strides[last-1][i], k.strides[last][i]}
	}
	most := joinedBytes / k.sizeIn / n // rows in a block
	room := [2]unsafe.Pointer{unsafe.Pointer(&scratch[0]), unsafe.Pointer(&scratch[block])}
	have := [2]int{-1, -1} // where what repeats in room was copied from
	for c := k.seek(lo); lo < hi; {
		if c.in > 0 || hi-lo < n { // the rest of a row
			m := min(n-c.in, hi-lo)
			k.row(unsafe.Pointer(&k.dst[lo*k.size]), k.operand(0, c.off[0]+c.in*k.sa), k.operand(1, c.off[1]+c.in*k.sb), m, k.sa, k.sb, scratch)
			lo += m
			have = [2]int{-1, -1}
			k.next(&c)
			continue
		}
		count := min(most, rows-c.idx[last-1], (hi-lo)/n)
		var x [2]unsafe.Pointer
		for i, s := range shape {
			x[i] = k.operand(i, c.off[i])
			if s.inner == 1 && s.outer == n {
				continue
			}
			if s.outer != 0 || have[i] != c.off[i] {
				fill := count
				if s.outer == 0 {
					fill, have[i] = most, c.off[i]
				}
				joinRows(room[i], x[i], fill, n, s, k.sizeIn)
			}
			x[i] = room[i]
		}
		k.row(unsafe.Pointer(&k.dst[lo*k.size]), x[0], x[1], count*n, 1, 1, nil)
		lo += count * n
		for i := range shape {
			c.off[i] += (count - 1) * shape[i].outer
		}
		c.idx[last-1] += count - 1
		k.next(&c)
	}
}

// operand is where element at of an input lies.
func (k *BinaryKernel) operand(i, at int) unsafe.Pointer {
	if i == 0 {
		return unsafe.Pointer(&k.a[at*k.sizeIn])
	}
	return unsafe.Pointer(&k.b[at*k.sizeIn])
}

// joinRows copies rows of n elements side by side.
func joinRows(dst, src unsafe.Pointer, rows, n int, s operandShape, size int) {
	switch size {
	case 1:
		joinRowsOf[uint8](dst, src, rows, n, s)
	case 2:
		joinRowsOf[uint16](dst, src, rows, n, s)
	case 4:
		joinRowsOf[uint32](dst, src, rows, n, s)
	default:
		joinRowsOf[uint64](dst, src, rows, n, s)
	}
}

func joinRowsOf[T uint8 | uint16 | uint32 | uint64](dst, src unsafe.Pointer, rows, n int, s operandShape) {
	d, x := unsafe.Slice((*T)(dst), rows*n), unsafe.Slice((*T)(src), (rows-1)*s.outer+(n-1)*s.inner+1)
	for r := range rows {
		to := d[r*n : (r+1)*n]
		if from := x[r*s.outer:]; s.inner == 0 {
			v := from[0]
			for i := range to {
				to[i] = v
			}
		} else {
			from = from[:len(to)]
			for i := range to {
				to[i] = from[i]
			}
		}
	}
}
