package elemwise

import (
	"fmt"
	"unsafe"

	"github.com/salver-ml/salver/internal/kernels/split"
	"github.com/salver-ml/salver/internal/pool"
)

// Select is a prepared Where: dst = cond ? a : b with broadcasting.
type Select struct {
	*Broadcast
	row             func(dst, cond, a, b unsafe.Pointer, n int, s [maxInputs]int)
	spread          func(k *Select, room []byte, input int, c cursor, n int)
	size, parts     int
	rooms           []byte // of parts, where rows are short: for what inputs have for a block of elements
	dst, cond, a, b []byte
}

// NewSelect prepares a selection between elements of size bytes (1, 2, 4, 8 or 16).
func NewSelect(size int, cond, a, b []int) (*Select, error) {
	bc, err := NewBroadcast(cond, a, b)
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	k := &Select{Broadcast: bc, size: size, parts: split.Parts(bc.n, grain)}
	switch size {
	case 1:
		k.row, k.spread = selectBytes, spreadSelect[uint8]
	case 2:
		k.row, k.spread = selectRow[uint16], spreadSelect[uint16]
	case 4:
		k.row, k.spread = selectRow[uint32], spreadSelect[uint32]
	case 8:
		k.row, k.spread = selectRow[uint64], spreadSelect[uint64]
	case 16:
		k.row, k.spread = selectRow[[2]uint64], spreadSelect[[2]uint64]
	default:
		return nil, fmt.Errorf("where: elements of %d bytes: want 1, 2, 4, 8 or 16", size)
	}
	if width, _ := k.Broadcast.row(); width < shortRow && bc.n > width {
		k.rooms = make([]byte, k.parts*(1+2*size)*selectBlock)
	}
	return k, nil
}

// Run computes dst; cond has one byte per element, 0 is false.
func (k *Select) Run(p *pool.Pool, dst, cond, a, b []byte) {
	if k.n == 0 {
		return
	}
	k.dst, k.cond = dst[:k.n*k.size], cond[:k.need[0]]
	k.a, k.b = a[:k.need[1]*k.size], b[:k.need[2]*k.size]
	p.RunFromEnds(k.parts, k)
	k.dst, k.cond, k.a, k.b = nil, nil, nil, nil
}

// Do computes one chunk; it is called by the pool.
func (k *Select) Do(i int) {
	lo, hi := split.Aligned(k.n, 64, k.parts, i)
	if k.rooms != nil {
		k.doShort(lo, hi, k.rooms[i*len(k.rooms)/k.parts:])
		return
	}
	width, s := k.Broadcast.row()
	for c := k.seek(lo); lo < hi; k.next(&c) {
		n := min(width-c.in, hi-lo)
		k.row(unsafe.Pointer(&k.dst[lo*k.size]), unsafe.Pointer(&k.cond[c.off[0]+c.in*s[0]]),
			unsafe.Pointer(&k.a[(c.off[1]+c.in*s[1])*k.size]), unsafe.Pointer(&k.b[(c.off[2]+c.in*s[2])*k.size]), n, s)
		lo += n
	}
}

// selectBlock is the number of elements that are computed together where rows are short.
const selectBlock = 512

// doShort computes elements lo to hi: what inputs have for a block is spread out first, but for those that lie so.
func (k *Select) doShort(lo, hi int, room []byte) {
	sizes := [3]int{1, k.size, k.size}
	spread := [3]func(k *Select, room []byte, input int, c cursor, n int){spreadSelect[uint8], k.spread, k.spread}
	space := [3][]byte{room[2*k.size*selectBlock:], room, room[k.size*selectBlock:]} // bytes behind what must be aligned
	for ; lo < hi; lo += selectBlock {
		n := min(hi-lo, selectBlock)
		at := k.seek(lo)
		var in [3]unsafe.Pointer
		for j, x := range [3][]byte{k.cond, k.a, k.b} {
			if k.need[j] == k.n {
				in[j] = unsafe.Pointer(&x[lo*sizes[j]])
				continue
			}
			spread[j](k, space[j], j, at, n)
			in[j] = unsafe.Pointer(&space[j][0])
		}
		k.row(unsafe.Pointer(&k.dst[lo*k.size]), in[0], in[1], in[2], n, [maxInputs]int{1, 1, 1})
	}
}

// spreadSelect fills room with what an input has for n elements from a place on.
func spreadSelect[T any](k *Select, room []byte, input int, c cursor, n int) {
	src := [3][]byte{k.cond, k.a, k.b}[input]
	spreadInput(k.Broadcast, unsafe.Slice((*T)(unsafe.Pointer(&room[0])), n), unsafe.Slice((*T)(unsafe.Pointer(&src[0])), k.need[input]), input, c)
}

// selectBytes is selectRow of bytes, eight at a time.
func selectBytes(dst, cond, a, b unsafe.Pointer, n int, s [maxInputs]int) {
	i := 0
	if s[0] == 1 {
		const low, ones = 0x7f7f7f7f7f7f7f7f, 0x0101010101010101
		load := func(p unsafe.Pointer, step int) uint64 {
			if step == 0 {
				return uint64(*(*uint8)(p)) * ones
			}
			return *(*uint64)(unsafe.Add(p, i))
		}
		for ; i+8 <= n; i += 8 {
			c := load(cond, 1)
			mask := ((c&low + low | c) >> 7 & ones) * 255 // of the bytes that are not 0
			*(*uint64)(unsafe.Add(dst, i)) = load(a, s[1])&mask | load(b, s[2])&^mask
		}
	}
	if i < n {
		selectRow[uint8](unsafe.Add(dst, i), unsafe.Add(cond, i*s[0]), unsafe.Add(a, i*s[1]), unsafe.Add(b, i*s[2]), n-i, s)
	}
}

// selectRow takes both elements before it chooses, which needs no branch: conditions are hard to predict.
func selectRow[T any](dst, cond, a, b unsafe.Pointer, n int, s [maxInputs]int) {
	d := unsafe.Slice((*T)(dst), n)
	c := unsafe.Slice((*uint8)(cond), 1+(n-1)*s[0])
	x, y := unsafe.Slice((*T)(a), 1+(n-1)*s[1]), unsafe.Slice((*T)(b), 1+(n-1)*s[2])
	if s[0] == 0 { // one condition for the row
		if c[0] == 0 {
			x, s[1] = y, s[2]
		}
		spreadRow(d, x, s[1])
		return
	}
	choose(d, c, x, y, s[1], s[2])
}

// choose is dst = cond ? x : y, where x and y are rows, or with a step of 0 single elements.
func choose[T any](dst []T, cond []uint8, x, y []T, sx, sy int) {
	cond = cond[:len(dst)]
	switch {
	case sx == 0 && sy == 0:
		p, q := x[0], y[0]
		for i, c := range cond {
			v := q
			if c != 0 {
				v = p
			}
			dst[i] = v
		}
	case sx == 0:
		p, y := x[0], y[:len(dst)]
		for i, c := range cond {
			v := y[i]
			if c != 0 {
				v = p
			}
			dst[i] = v
		}
	case sy == 0:
		x, q := x[:len(dst)], y[0]
		for i, c := range cond {
			v := x[i]
			if c == 0 {
				v = q
			}
			dst[i] = v
		}
	default:
		x, y := x[:len(dst)], y[:len(dst)]
		for i, c := range cond {
			v, w := x[i], y[i]
			if c == 0 {
				v = w
			}
			dst[i] = v
		}
	}
}
