package blockq

import (
	"encoding/binary"

	"github.com/salver-ml/salver/internal/dtype/block"
)

var le = binary.LittleEndian

// unit is a block of the file taken apart: codes as small unsigned numbers (int8
// in Q8_0), and scales in the form in which they are packed.
type unit struct {
	codes [superSize]byte
	d, m  uint16   // float16, or MXFP4's exponent
	sc    [16]byte // of groups, or of their halves
	mins  [8]byte  // of groups
}

// parse takes a block apart.
func (u *unit) parse(f block.Format, b []byte) {
	switch f {
	case block.Q4_0, block.IQ4_NL:
		u.d = le.Uint16(b)
		nibbles(u.codes[:], b[2:18])
	case block.MXFP4:
		u.d = uint16(b[0])
		nibbles(u.codes[:], b[1:17])
	case block.Q4_1:
		u.d, u.m = le.Uint16(b), le.Uint16(b[2:])
		nibbles(u.codes[:], b[4:20])
	case block.Q5_0:
		u.d = le.Uint16(b)
		nibbles(u.codes[:], b[6:22])
		fifth(u.codes[:], le.Uint32(b[2:]))
	case block.Q5_1:
		u.d, u.m = le.Uint16(b), le.Uint16(b[2:])
		nibbles(u.codes[:], b[8:24])
		fifth(u.codes[:], le.Uint32(b[4:]))
	case block.Q8_0:
		u.d = le.Uint16(b)
		copy(u.codes[:], b[2:34])
	case block.Q4_K:
		u.d, u.m = le.Uint16(b), le.Uint16(b[2:])
		u.setScaleMins(b[4:16])
		u.nibbleRows(b[16:144])
	case block.Q5_K:
		u.d, u.m = le.Uint16(b), le.Uint16(b[2:])
		u.setScaleMins(b[4:16])
		u.nibbleRows(b[48:176])
		for i := range u.codes {
			u.codes[i] |= b[16+i%32] >> (i / 32) & 1 << 4
		}
	case block.Q6_K:
		u.d = le.Uint16(b[208:])
		copy(u.sc[:], b[192:208])
		for i := range u.codes {
			u.codes[i] = b[i/128*64+i%64]>>(i/64%2*4)&15 | twoBits(b[128:], i)<<4
		}
	case block.Q3_K:
		u.d = le.Uint16(b[108:])
		u.scalesQ3(b[96:108])
		for i := range u.codes {
			u.codes[i] = twoBits(b[32:], i) | b[i%32]>>(i/32)&1<<2
		}
	case block.Q2_K:
		u.d, u.m = le.Uint16(b[80:]), le.Uint16(b[82:])
		copy(u.sc[:], b[:16])
		for i := range u.codes {
			u.codes[i] = twoBits(b[16:], i)
		}
	case block.IQ4_XS:
		u.d = le.Uint16(b)
		for j := range 8 {
			u.sc[j] = scaleIQ4(b, j)
			nibbles(u.codes[32*j:], b[8+16*j:24+16*j])
		}
	}
}

// nibbles: element j is in the low half of byte j, element j + 16 in the high.
func nibbles(codes, qs []byte) {
	for j, q := range qs {
		codes[j], codes[j+16] = q&15, q>>4
	}
}

// fifth adds a bit to each of 32 codes.
func fifth(codes []byte, high uint32) {
	for j := range 32 {
		codes[j] |= byte(high>>j&1) << 4
	}
}

// nibbleRows: rows 2c and 2c+1 of 32 elements share 32 bytes.
func (u *unit) nibbleRows(qs []byte) {
	for i := range u.codes {
		u.codes[i] = qs[i/64*32+i%32] >> (i / 32 % 2 * 4) & 15
	}
}

// twoBits are those of element i: four rows of 32 elements share 32 bytes.
func twoBits(qs []byte, i int) byte { return qs[i/128*32+i%32] >> (i / 32 % 4 * 2) & 3 }

// scaleMins reads the 6-bit scales and minimums of Q4_K and Q5_K, one in a byte.
func scaleMins(packed []byte) (sc, mins uint64) {
	const six, four, two = 0x3f3f3f3f, 0x0f0f0f0f, 0x03030303
	a, b, c := word(packed, 0), word(packed, 1), word(packed, 2)
	sc = uint64(a&six) | uint64(c&four|a>>6&two<<4)<<32
	mins = uint64(b&six) | uint64(c>>4&four|b>>6&two<<4)<<32
	return sc, mins
}

func (u *unit) setScaleMins(packed []byte) {
	sc, mins := scaleMins(packed)
	le.PutUint64(u.sc[:], sc)
	le.PutUint64(u.mins[:], mins)
}

// scalesQ3 reads the 6-bit scales of Q3_K and takes 32 off.
func (u *unit) scalesQ3(packed []byte) {
	for j := range 16 {
		u.sc[j] = (packed[j%8]>>(j/8*4)&15 | packed[8+j%4]>>(j/4*2)&3<<4) - 32
	}
}

// scaleIQ4 is scale j of a block of IQ4_XS, less 32.
func scaleIQ4(b []byte, j int) byte {
	return (b[4+j/2]>>(j%2*4)&15 | byte(le.Uint16(b[2:])>>(2*j)&3<<4)) - 32
}
