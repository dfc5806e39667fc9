package transpose

import "unsafe"

// tileOf is the tile transposition for elements of a size, at the current level.
func tileOf(elem int) tileFunc {
	t := current()
	switch elem {
	case 1:
		return t.tile1
	case 2:
		return t.tile2
	case 4:
		return t.tile4
	case 8:
		return t.tile8
	}
	return tile[[2]uint64]
}

// tile walks 8 × 8 squares, so that each cache line read or written is used
// whole while it is near.
func tile[T any](dst, src unsafe.Pointer, ds, ss, h, w int) {
	var z T
	size := int(unsafe.Sizeof(z))
	switch {
	case h >= 2 && h <= 4:
		weave[T](dst, src, ds, ss, h, w)
		return
	case w >= 2 && w <= 4:
		unweave[T](dst, src, ds, ss, h, w)
		return
	}
	step := ss * size
	for i0 := 0; i0 < h; i0 += 8 {
		n := min(8, h-i0)
		for j := range w {
			d := unsafe.Add(dst, (j*ds+i0)*size)
			s := unsafe.Add(src, (i0*ss+j)*size)
			if n == 8 {
				eight[T](d, s, step)
				continue
			}
			for i := range n { // no pointer may leave the buffers, not even for a moment
				*(*T)(unsafe.Add(d, i*size)) = *(*T)(unsafe.Add(s, i*step))
			}
		}
	}
}

// weave makes rows of 2 to 4 elements of as many rows of w, such as the colours of pixels.
func weave[T any](dst, src unsafe.Pointer, ds, ss, h, w int) {
	var z T
	size := int(unsafe.Sizeof(z))
	row := func(i int) []T { return unsafe.Slice((*T)(unsafe.Add(src, i*ss*size)), w) }
	x, y := row(0), row(1)[:w]
	if h == 2 {
		for j, v := range x {
			*(*[2]T)(unsafe.Add(dst, j*ds*size)) = [2]T{v, y[j]}
		}
		return
	}
	u := row(2)[:w]
	if h == 3 {
		for j, v := range x {
			*(*[3]T)(unsafe.Add(dst, j*ds*size)) = [3]T{v, y[j], u[j]}
		}
		return
	}
	last := row(3)[:w]
	for j, v := range x {
		*(*[4]T)(unsafe.Add(dst, j*ds*size)) = [4]T{v, y[j], u[j], last[j]}
	}
}

// unweave is the reverse of weave.
func unweave[T any](dst, src unsafe.Pointer, ds, ss, h, w int) {
	var z T
	size := int(unsafe.Sizeof(z))
	row := func(j int) []T { return unsafe.Slice((*T)(unsafe.Add(dst, j*ds*size)), h) }
	x, y := row(0), row(1)[:h]
	if w == 2 {
		for i := range x {
			s := (*[2]T)(unsafe.Add(src, i*ss*size))
			x[i], y[i] = s[0], s[1]
		}
		return
	}
	u := row(2)[:h]
	if w == 3 {
		for i := range x {
			s := (*[3]T)(unsafe.Add(src, i*ss*size))
			x[i], y[i], u[i] = s[0], s[1], s[2]
		}
		return
	}
	last := row(3)[:h]
	for i := range x {
		s := (*[4]T)(unsafe.Add(src, i*ss*size))
		x[i], y[i], u[i], last[i] = s[0], s[1], s[2], s[3]
	}
}

// eight gathers 8 elements that are step bytes apart.
func eight[T any](dst, src unsafe.Pointer, step int) {
	d := (*[8]T)(dst)
	d[0] = *(*T)(src)
	d[1] = *(*T)(unsafe.Add(src, step))
	d[2] = *(*T)(unsafe.Add(src, 2*step))
	d[3] = *(*T)(unsafe.Add(src, 3*step))
	src = unsafe.Add(src, 4*step)
	d[4] = *(*T)(src)
	d[5] = *(*T)(unsafe.Add(src, step))
	d[6] = *(*T)(unsafe.Add(src, 2*step))
	d[7] = *(*T)(unsafe.Add(src, 3*step))
}

// moveOf copies rows of elements of a size.
func moveOf(elem int) func(dst, src unsafe.Pointer, n, ds, ss int) {
	switch elem {
	case 1:
		return move[uint8]
	case 2:
		return move[uint16]
	case 4:
		return move[uint32]
	case 8:
		return move[uint64]
	}
	return move[[2]uint64]
}

// longRow is from how many bytes on a level's own copy is used.
const longRow = 2 << 10

// shortRow is the largest number of elements in a row that moveShort copies.
const shortRow = 8

// moveShort copies rows of n elements, up to shortRow, each of which lies so many elements
// after the last.
func moveShort(elem int) func(dst, src unsafe.Pointer, rows, n, ds, ss int) {
	switch elem {
	case 1:
		return shortRows[uint8]
	case 2:
		return shortRows[uint16]
	case 4:
		return shortRows[uint32]
	case 8:
		return shortRows[uint64]
	}
	return shortRows[[2]uint64]
}

func shortRows[T any](dst, src unsafe.Pointer, rows, n, ds, ss int) {
	var z T
	size := int(unsafe.Sizeof(z))
	for r := range rows {
		d, s := unsafe.Slice((*T)(unsafe.Add(dst, r*ds*size)), n), unsafe.Slice((*T)(unsafe.Add(src, r*ss*size)), n)
		for i := range d {
			d[i] = s[i]
		}
	}
}

func move[T any](dst, src unsafe.Pointer, n, ds, ss int) {
	var z T
	size := int(unsafe.Sizeof(z))
	switch {
	case ds == 1 && ss == 1 && n*size >= longRow:
		current().lines(unsafe.Slice((*byte)(dst), n*size), unsafe.Slice((*byte)(src), n*size))
		return
	case ds == 1 && ss == 1:
		copy(unsafe.Slice((*T)(dst), n), unsafe.Slice((*T)(src), n))
		return
	case ds == 1 && ss == 0:
		repeat(unsafe.Slice((*T)(dst), n), *(*T)(src))
		return
	}
	spread[T](dst, src, n, ds*size, ss*size)
}

// spread copies elements that lie so many bytes apart.
func spread[T any](dst, src unsafe.Pointer, n, ds, ss int) {
	i := 0
	for ; i+4 < n; i += 4 { // no pointer may leave the buffers
		a, b, c, d := *(*T)(src), *(*T)(unsafe.Add(src, ss)), *(*T)(unsafe.Add(src, 2*ss)), *(*T)(unsafe.Add(src, 3*ss))
		*(*T)(dst) = a
		*(*T)(unsafe.Add(dst, ds)) = b
		*(*T)(unsafe.Add(dst, 2*ds)) = c
		*(*T)(unsafe.Add(dst, 3*ds)) = d
		dst, src = unsafe.Add(dst, 4*ds), unsafe.Add(src, 4*ss)
	}
	for j := range n - i {
		*(*T)(unsafe.Add(dst, j*ds)) = *(*T)(unsafe.Add(src, j*ss))
	}
}

// repeat fills dst.
func repeat[T any](dst []T, v T) {
	size := int(unsafe.Sizeof(v))
	for i := range min(len(dst), 32/size) {
		dst[i] = v
	}
	if len(dst)*size > 32 {
		current().repeats(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)*size))
	}
}

// midRows copies rows of bytes that are 32 at least.
func midRows(dst, src unsafe.Pointer, rows, bytes, ds, ss int) {
	for r := range rows {
		d, s, n := unsafe.Add(dst, r*ds), unsafe.Add(src, r*ss), bytes
		for ; n >= 64; n -= 64 {
			*(*[8]uint64)(d) = *(*[8]uint64)(s)
			if n > 64 {
				d, s = unsafe.Add(d, 64), unsafe.Add(s, 64)
			}
		}
		if n == 0 {
			continue
		}
		at := 0
		for ; at+16 <= n; at += 16 {
			*(*[2]uint64)(unsafe.Add(d, at)) = *(*[2]uint64)(unsafe.Add(s, at))
		}
		if at < n { // the last 16, once more in part
			at = n - 16
			*(*[2]uint64)(unsafe.Add(d, at)) = *(*[2]uint64)(unsafe.Add(s, at))
		}
	}
}

// Tile32 transposes h rows of w float32 on this goroutine:
// dst[j·ds+i] = src[i·ss+j].
func Tile32(dst, src []float32, ds, ss, h, w int) {
	if h == 0 || w == 0 {
		return
	}
	_, _ = dst[(w-1)*ds+h-1], src[(h-1)*ss+w-1]
	f := current().tile4
	const most = 256 // of a side, for calls of assembly that end soon
	for i := 0; i < h; i += most {
		for j := 0; j < w; j += most {
			f(unsafe.Pointer(&dst[j*ds+i]), unsafe.Pointer(&src[i*ss+j]), ds, ss, min(most, h-i), min(most, w-j))
		}
	}
}
