package signal

import "math"

// transform32 is a Fourier transform of complex float32 numbers in their own
// precision, for lengths whose prime factors are 2, 3 and 5: what FFT libraries
// give for such signals, with their rounding (the passes are those of
// P. N. Swarztrauber's FFTPACK, as in pocketfft).
type transform32 struct {
	n      int
	passes []pass32
	a, b   []c32
}

// c32 is a complex number whose operations spell out their roundings.
type c32 struct{ r, i float32 }

func (x c32) add(y c32) c32 { return c32{x.r + y.r, x.i + y.i} }
func (x c32) sub(y c32) c32 { return c32{x.r - y.r, x.i - y.i} }

// mul is x·y, or x times the conjugate of y.
func (x c32) mul(y c32, conj bool) c32 {
	if conj {
		return c32{float32(x.r*y.r) + float32(x.i*y.i), float32(x.i*y.r) - float32(x.r*y.i)}
	}
	return c32{float32(x.r*y.r) - float32(x.i*y.i), float32(x.r*y.i) + float32(x.i*y.r)}
}

// pass32 combines radix transforms of length l1 into ones of radix·l1.
type pass32 struct {
	radix, l1, ido int
	twiddles       []c32 // e^(2πi·j·l1·k/n) for j in 1..radix-1 and k in 1..ido-1
}

// newTransform32 gives nil for lengths with other factors.
func newTransform32(n int) *transform32 {
	t := &transform32{n: n, a: make([]c32, n), b: make([]c32, n)}
	l1 := 1
	for _, radix := range radices(n) {
		p := pass32{radix: radix, l1: l1, ido: n / (l1 * radix)}
		for j := 1; j < radix; j++ {
			for k := 1; k < p.ido; k++ {
				sin, cos := math.Sincos(2 * math.Pi * float64(j*l1*k%n) / float64(n))
				p.twiddles = append(p.twiddles, c32{float32(cos), float32(sin)})
			}
		}
		t.passes = append(t.passes, p)
		l1 *= radix
	}
	if l1 != n {
		return nil
	}
	return t
}

// radices factors n: 4 as often as it goes, a single 2 in front, then 3 and 5.
func radices(n int) (out []int) {
	for ; n > 0 && n%4 == 0; n /= 4 {
		out = append(out, 4)
	}
	if n%2 == 0 {
		out = append(out, 2)
		out[0], out[len(out)-1] = out[len(out)-1], out[0]
		n /= 2
	}
	for _, radix := range []int{3, 5} {
		for ; n%radix == 0; n /= radix {
			out = append(out, radix)
		}
	}
	return out
}

// run transforms x in place; the inverse is scaled by 1/n.
func (t *transform32) run(x []complex128, inverse bool) {
	for i, v := range x {
		t.a[i] = c32{float32(real(v)), float32(imag(v))}
	}
	for i := range t.passes {
		switch p := &t.passes[i]; p.radix {
		case 2:
			p.run2(t.b, t.a, inverse)
		case 4:
			p.run4(t.b, t.a, inverse)
		default:
			p.run(t.b, t.a, inverse)
		}
		t.a, t.b = t.b, t.a
	}
	scale := float32(1)
	if inverse {
		scale = 1 / float32(t.n)
	}
	for i, v := range t.a {
		x[i] = complex(float64(v.r*scale), float64(v.i*scale))
	}
}

func (p *pass32) run(dst, src []c32, inverse bool) {
	var v, w [5]c32
	for k := range p.l1 {
		for i := range p.ido {
			for j := range p.radix {
				v[j] = src[i+p.ido*(j+p.radix*k)]
			}
			butterfly(&w, &v, p.radix, inverse)
			for j := range p.radix {
				if i > 0 && j > 0 {
					w[j] = w[j].mul(p.twiddles[(j-1)*(p.ido-1)+i-1], !inverse)
				}
				dst[i+p.ido*(k+p.l1*j)] = w[j]
			}
		}
	}
}

// run2 is run for radix 2.
func (p *pass32) run2(dst, src []c32, inverse bool) {
	n, half := p.ido, p.ido*p.l1
	for k := range p.l1 {
		v0, v1 := src[2*k*n:][:n], src[(2*k+1)*n:][:n]
		w0, w1 := dst[k*n:][:n], dst[half+k*n:][:n]
		w0[0], w1[0] = v0[0].add(v1[0]), v0[0].sub(v1[0])
		for i, t := range p.twiddles[:n-1] {
			a, b := v0[i+1], v1[i+1]
			w0[i+1], w1[i+1] = a.add(b), a.sub(b).mul(t, !inverse)
		}
	}
}

// run4 is run for radix 4.
func (p *pass32) run4(dst, src []c32, inverse bool) {
	n, quarter := p.ido, p.ido*p.l1
	sign := float32(-1)
	if inverse {
		sign = 1
	}
	t1, t2, t3 := p.twiddles[:n-1], p.twiddles[n-1:][:n-1], p.twiddles[2*(n-1):][:n-1]
	for k := range p.l1 {
		v0, v1, v2, v3 := src[4*k*n:][:n], src[(4*k+1)*n:][:n], src[(4*k+2)*n:][:n], src[(4*k+3)*n:][:n]
		w0, w1, w2, w3 := dst[k*n:][:n], dst[quarter+k*n:][:n], dst[2*quarter+k*n:][:n], dst[3*quarter+k*n:][:n]
		w0[0], w1[0], w2[0], w3[0] = fourth(v0[0], v1[0], v2[0], v3[0], sign)
		for i := 1; i < n; i++ {
			a, b, c, d := fourth(v0[i], v1[i], v2[i], v3[i], sign)
			w0[i], w1[i], w2[i], w3[i] = a, b.mul(t1[i-1], !inverse), c.mul(t2[i-1], !inverse), d.mul(t3[i-1], !inverse)
		}
	}
}

// fourth is the transform of four numbers; sign is that of the exponent.
func fourth(v0, v1, v2, v3 c32, sign float32) (w0, w1, w2, w3 c32) {
	s02, d02, s13, d13 := v0.add(v2), v0.sub(v2), v1.add(v3), v1.sub(v3)
	d13 = c32{d13.r * sign, d13.i * sign}
	return s02.add(s13), c32{d02.r - d13.i, d02.i + d13.r}, s02.sub(s13), c32{d02.r + d13.i, d02.i - d13.r}
}

// butterfly is the transform of 2 to 5 numbers.
func butterfly(w, v *[5]c32, radix int, inverse bool) {
	sign := float32(-1)
	if inverse {
		sign = 1
	}
	switch radix {
	case 2:
		w[0], w[1] = v[0].add(v[1]), v[0].sub(v[1])
	case 3:
		s, d := v[1].add(v[2]), v[1].sub(v[2])
		w[0] = v[0].add(s)
		a := c32{v[0].r - float32(0.5*s.r), v[0].i - float32(0.5*s.i)}
		rotated(w, 1, 2, a, c32{d.r * (sign * sin3), d.i * (sign * sin3)})
	case 4:
		s02, d02, s13, d13 := v[0].add(v[2]), v[0].sub(v[2]), v[1].add(v[3]), v[1].sub(v[3])
		w[0], w[2] = s02.add(s13), s02.sub(s13)
		rotated(w, 1, 3, d02, c32{d13.r * sign, d13.i * sign})
	case 5:
		s14, d14, s23, d23 := v[1].add(v[4]), v[1].sub(v[4]), v[2].add(v[3]), v[2].sub(v[3])
		w[0] = c32{v[0].r + s14.r + s23.r, v[0].i + s14.i + s23.i}
		fifth(w, 1, 4, v[0], s14, s23, d14, d23, cos51, cos52, sign*sin51, sign*sin52)
		fifth(w, 2, 3, v[0], s14, s23, d14, d23, cos52, cos51, sign*sin52, -sign*sin51)
	}
}

const (
	sin3  = float32(0.866025403784438646763723170752936183)
	cos51 = float32(0.309016994374947424102293417182819059)
	sin51 = float32(0.951056516295153572116439333379382143)
	cos52 = float32(-0.809016994374947424102293417182819059)
	sin52 = float32(0.587785252292473129168705954639072769)
)

// rotated sets a pair of outputs to a ± i·b.
func rotated(w *[5]c32, lo, hi int, a, b c32) {
	w[lo], w[hi] = c32{a.r - b.i, a.i + b.r}, c32{a.r + b.i, a.i - b.r}
}

// fifth is a pair of outputs of the transform of five numbers.
func fifth(w *[5]c32, lo, hi int, v, s14, s23, d14, d23 c32, c1, c2, s1, s2 float32) {
	a := c32{v.r + float32(c1*s14.r) + float32(c2*s23.r), v.i + float32(c1*s14.i) + float32(c2*s23.i)}
	b := c32{float32(s1*d14.r) + float32(s2*d23.r), float32(s1*d14.i) + float32(s2*d23.i)}
	rotated(w, lo, hi, a, b)
}
