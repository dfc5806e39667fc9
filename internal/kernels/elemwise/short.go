package elemwise

import "unsafe"

// shortMost is the longest row that is joined with its neighbours: one by one such rows
// take longer to call for than to compute.
const shortMost = 128

const (
	joinBlock   = 1024 // floats of the room for a joined operand, two of which lie before a chunk's other scratch
	roomSlack   = 32   // bytes that joinRows may write more
	joinedBytes = 4*joinBlock - roomSlack
)

// An operandShape says where an operand of joined rows lies: from row to row, and along one.
type operandShape struct{ outer, inner int }

// joins reports whether rows are joined: where they are short, and there are several.
func (k *BinaryKernel) joins() bool {
	return k.n <= shortMost && len(k.dims) > 1
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
	most := min(joinedBytes/k.sizeIn/n, rows) // in a block
	room := [2]unsafe.Pointer{unsafe.Pointer(&scratch[0]), unsafe.Pointer(&scratch[joinBlock])}
	scratch = scratch[2*joinBlock:]
	have := [2]int{-1, -1} // where what repeats in room was copied from
	for c := k.seek(lo); lo < hi; {
		if c.in > 0 || hi-lo < n { // the rest of a row
			m := min(n-c.in, hi-lo)
			k.row(unsafe.Pointer(&k.dst[lo*k.size]), k.operand(0, c.off[0]+c.in*k.sa), k.operand(1, c.off[1]+c.in*k.sb), m, k.sa, k.sb, scratch)
			lo += m
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
		k.row(unsafe.Pointer(&k.dst[lo*k.size]), x[0], x[1], count*n, 1, 1, scratch)
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

// joinRows puts rows of n elements side by side: one row again and again, or what is one value all along each.
// It may write up to roomSlack bytes more.
func joinRows(dst, src unsafe.Pointer, rows, n int, s operandShape, size int) {
	if s.inner != 0 {
		fillWith(bytesAt(dst, rows*n*size), bytesAt(src, n*size))
		return
	}
	for i := range rows { // no pointer may leave its tensor, not even after the last row
		repeatBits(unsafe.Add(dst, i*n*size), spreadBits(unsafe.Add(src, i*s.outer*size), size), n*size)
	}
}

// repeatBits writes v over so many bytes, and up to 31 more.
func repeatBits(dst unsafe.Pointer, v uint64, bytes int) {
	for at := 0; at < bytes; at += roomSlack {
		d := (*[roomSlack / 8]uint64)(unsafe.Add(dst, at))
		d[0], d[1], d[2], d[3] = v, v, v, v
	}
}

// repeatValue fills dst with the value of so many bytes at p.
func repeatValue(dst []byte, p unsafe.Pointer, size int) {
	v, whole := spreadBits(p, size), len(dst)/roomSlack*roomSlack
	repeatBits(unsafe.Pointer(unsafe.SliceData(dst)), v, whole)
	for rest := dst[whole:]; len(rest) > 0; rest = rest[min(8, len(rest)):] {
		var b [8]byte
		*(*uint64)(unsafe.Pointer(&b)) = v
		copy(rest, b[:])
	}
}

// spreadBits repeats a value of 1, 2, 4 or 8 bytes over 8.
func spreadBits(p unsafe.Pointer, size int) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(p)) * 0x0101010101010101
	case 2:
		return uint64(*(*uint16)(p)) * 0x0001000100010001
	case 4:
		return uint64(*(*uint32)(p)) * 0x0000000100000001
	}
	return *(*uint64)(p)
}
