package packed

import "encoding/binary"

// stream is a row of numbers of a few bits in 32-bit words, low bits first. Word
// i is at byte 4·(start + i·step).
type stream struct {
	data        []byte
	start, step int
}

func (s stream) word(i int) uint32 { return binary.LittleEndian.Uint32(s.data[4*(s.start+i*s.step):]) }

func (s stream) or(i int, v uint32) {
	b := s.data[4*(s.start+i*s.step):]
	binary.LittleEndian.PutUint32(b, binary.LittleEndian.Uint32(b)|v)
}

// get gives number i where numbers run on from word to word.
func (s stream) get(i, bits int) uint8 {
	at := i * bits
	v := s.word(at/32) >> (at % 32)
	if over := at%32 + bits - 32; over > 0 {
		v |= s.word(at/32+1) << (bits - over)
	}
	return uint8(v & (1<<bits - 1))
}

// put is the inverse, on words that are zero.
func (s stream) put(i, bits int, v uint8) {
	at := i * bits
	s.or(at/32, uint32(v)<<(at%32))
	if over := at%32 + bits - 32; over > 0 {
		s.or(at/32+1, uint32(v)>>(bits-over))
	}
}

// getWhole gives number i where words hold whole numbers.
func (s stream) getWhole(i, bits int) uint8 {
	each := 32 / bits
	return uint8(s.word(i/each) >> (i % each * bits) & (1<<bits - 1))
}

// putWhole is the inverse, on words that are zero.
func (s stream) putWhole(i, bits int, v uint8) {
	each := 32 / bits
	s.or(i/each, uint32(v)<<(i%each*bits))
}
