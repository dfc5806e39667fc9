package jpeg

// The inverse discrete cosine transform of Loeffler, Ligtenberg and Moschytz in
// fixed point, as libjpeg's "islow": 13 bits of constants, and 2 bits kept
// between columns and rows.
const (
	constBits = 13
	passBits  = 2

	fix0298631336 = 2446
	fix0390180644 = 3196
	fix0541196100 = 4433
	fix0765366865 = 6270
	fix0899976223 = 7373
	fix1175875602 = 9633
	fix1501321110 = 12299
	fix1847759065 = 15137
	fix1961570560 = 16069
	fix2053119869 = 16819
	fix2562915447 = 20995
	fix3072711026 = 25172
)

// inverse writes the samples of a block.
func inverse(b *[64]int32, dst []byte, stride int) {
	var v [8]int32
	for col := range 8 {
		if b[8+col]|b[16+col]|b[24+col]|b[32+col]|b[40+col]|b[48+col]|b[56+col] == 0 {
			first := b[col] << passBits // what the transform makes of it alone
			for i := range v {
				b[i*8+col] = first
			}
			continue
		}
		for i := range v {
			v[i] = b[i*8+col]
		}
		transform(&v, constBits-passBits)
		for i := range v {
			b[i*8+col] = v[i]
		}
	}
	for row := range 8 {
		copy(v[:], b[row*8:])
		transform(&v, constBits+passBits+3)
		for i, x := range v {
			dst[row*stride+i] = clamp(x + 128)
		}
	}
}

func clamp(x int32) byte { return byte(min(max(x, 0), 255)) }

// transform is the one-dimensional transform; results are rounded and shifted.
func transform(v *[8]int32, shift int) {
	z1 := (v[2] + v[6]) * fix0541196100
	t2, t3 := z1-v[6]*fix1847759065, z1+v[2]*fix0765366865
	t0, t1 := (v[0]+v[4])<<constBits, (v[0]-v[4])<<constBits
	e0, e3, e1, e2 := t0+t3, t0-t3, t1+t2, t1-t2

	t0, t1, t2, t3 = v[7], v[5], v[3], v[1]
	z1, z2, z3, z4 := t0+t3, t1+t2, t0+t2, t1+t3
	z5 := (z3 + z4) * fix1175875602
	z1, z2 = -z1*fix0899976223, -z2*fix2562915447
	z3, z4 = z5-z3*fix1961570560, z5-z4*fix0390180644
	t0 = t0*fix0298631336 + z1 + z3
	t1 = t1*fix2053119869 + z2 + z4
	t2 = t2*fix3072711026 + z2 + z3
	t3 = t3*fix1501321110 + z1 + z4

	half := int32(1) << (shift - 1)
	v[0], v[7] = (e0+t3+half)>>shift, (e0-t3+half)>>shift
	v[1], v[6] = (e1+t2+half)>>shift, (e1-t2+half)>>shift
	v[2], v[5] = (e2+t1+half)>>shift, (e2-t1+half)>>shift
	v[3], v[4] = (e3+t0+half)>>shift, (e3-t0+half)>>shift
}
