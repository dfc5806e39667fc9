package jpeg

import "errors"

// huffman is a table of codes of up to 16 bits, by length.
type huffman struct {
	ok     bool
	first  [17]int32 // least code of each length
	count  [17]int32
	offset [17]int32 // place of its first value
	values [256]uint8
	short  [256]uint16 // by the next 8 bits: value·256 + length, 0 for longer codes
}

func (d *decoder) huffmanTables(b []byte) error {
	for len(b) > 0 {
		if len(b) < 17 || b[0]>>4 > 1 || b[0]&15 > 3 {
			return errors.New("jpeg: malformed Huffman table")
		}
		h := &d.huff[b[0]>>4][b[0]&15]
		*h = huffman{ok: true}
		code, n := int32(0), int32(0)
		for l := 1; l <= 16; l++ {
			h.first[l], h.count[l], h.offset[l] = code, int32(b[l]), n
			code += h.count[l]
			n += h.count[l]
			if n > 256 || code > 1<<l {
				return errors.New("jpeg: malformed Huffman table")
			}
			code <<= 1
		}
		if len(b) < 17+int(n) {
			return errors.New("jpeg: malformed Huffman table")
		}
		copy(h.values[:], b[17:17+n])
		h.index()
		b = b[17+n:]
	}
	return nil
}

// index fills the table of short codes.
func (h *huffman) index() {
	for l := 1; l <= 8; l++ {
		for i := range h.count[l] {
			code := (h.first[l] + i) << (8 - l)
			for k := range int32(1) << (8 - l) {
				h.short[code+k] = uint16(h.values[h.offset[l]+i])<<8 | uint16(l)
			}
		}
	}
}

func (h *huffman) decode(r *bits) (uint8, error) {
	if r.n < 16 {
		r.fill()
	}
	if e := h.short[r.peek(8)]; e != 0 {
		r.n -= int(e & 255)
		return uint8(e >> 8), nil
	}
	all := r.peek(16)
	for l := 9; l <= 16; l++ {
		if i := all>>(16-l) - h.first[l]; i >= 0 && i < h.count[l] {
			r.n -= l
			return h.values[h.offset[l]+i], nil
		}
	}
	return 0, errors.New("jpeg: bits that are no code")
}

// bits reads entropy-coded data. Behind its end, or at a marker, there are zeros.
type bits struct {
	data []byte
	acc  uint64 // the low n bits are ahead
	n    int
}

// fill makes sure that at least 56 bits are ahead.
func (r *bits) fill() {
	for r.n <= 56 {
		r.acc <<= 8
		r.n += 8
		switch {
		case len(r.data) == 0:
		case r.data[0] != 0xff:
			r.acc |= uint64(r.data[0])
			r.data = r.data[1:]
		case len(r.data) > 1 && r.data[1] == 0:
			r.acc |= 0xff
			r.data = r.data[2:]
		}
	}
}

// peek gives the next k bits, of which so many are ahead.
func (r *bits) peek(k int) int32 { return int32(r.acc>>(r.n-k)) & (1<<k - 1) }

// signed reads a number of size bits; those with a leading 0 are negative.
func (r *bits) signed(size int) int32 {
	if size == 0 {
		return 0
	}
	if r.n < size {
		r.fill()
	}
	v := r.peek(size)
	r.n -= size
	if v < 1<<(size-1) {
		v -= 1<<size - 1
	}
	return v
}

// restart skips to behind the next restart marker.
func (r *bits) restart() {
	r.n = 0
	for i := 0; i+1 < len(r.data); i++ {
		if m := r.data[i+1]; r.data[i] == 0xff && m != 0 && m != 0xff {
			if m >= 0xd0 && m <= 0xd7 {
				r.data = r.data[i+2:]
			}
			return
		}
	}
}
