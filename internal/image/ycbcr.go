package image

import (
	stdimage "image"
	"image/color"
)

// rgb gives a colour without its transparency.
func rgb(c color.Color) [3]byte {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	if raw, ok := c.(color.NRGBA); ok {
		n = raw // conversion would lose the colour of fully transparent entries
	}
	return [3]byte{n.R, n.G, n.B}
}

// fromYCbCr converts to RGB with the arithmetic of libjpeg ("fancy" chroma
// interpolation and 16-bit fixed-point colour), so that a JPEG comes out as it
// does in Pillow and OpenCV, or with that of libwebp for a WebP.
func fromYCbCr(m *stdimage.YCbCr, videoRange bool) *Pixels {
	p := NewPixels(m.Rect.Dx(), m.Rect.Dy(), 3)
	up := newUpsampler(m)
	up.webp = videoRange
	convert := fullRange
	if videoRange {
		convert = limitedRange
	}
	for y := range p.Height {
		cb, cr := up.row(y)
		convert(p.row(y), m.Y[y*m.YStride:], cb, cr)
	}
	return p
}

// clamp8 limits v to a byte.
func clamp8(v int32) byte { return byte(min(max(v, 0), 255)) }

// fullRange is JFIF's conversion (ITU-T T.871) with libjpeg's constants.
func fullRange(dst, luma, cbs, crs []byte) {
	for x := range cbs {
		y, cb, cr := int32(luma[x]), int32(cbs[x])-128, int32(crs[x])-128
		dst[3*x] = clamp8(y + (91881*cr+1<<15)>>16)
		dst[3*x+1] = clamp8(y + (-22554*cb-46802*cr+1<<15)>>16)
		dst[3*x+2] = clamp8(y + (116130*cb+1<<15)>>16)
	}
}

// limitedRange is ITU-R BT.601 with luma 16..235, as WebP has it, with the
// 14-bit constants of libwebp.
func limitedRange(dst, luma, cbs, crs []byte) {
	for x := range cbs {
		y, u, v := int32(luma[x])*19077>>8, int32(cbs[x]), int32(crs[x])
		dst[3*x] = clamp8((y + v*26149>>8 - 14234) >> 6)
		dst[3*x+1] = clamp8((y - u*6419>>8 - v*13320>>8 + 8708) >> 6)
		dst[3*x+2] = clamp8((y + u*33050>>8 - 17685) >> 6)
	}
}

// upsampler enlarges chroma rows to the luma's width, one row at a time.
type upsampler struct {
	m             *stdimage.YCbCr
	width, height int // of the chroma planes
	hx, hy        int // luma samples per chroma sample
	webp          bool
	cb, cr        []byte
	near          []int32 // one chroma row after the vertical step
}

func newUpsampler(m *stdimage.YCbCr) *upsampler {
	u := &upsampler{m: m, hx: 1, hy: 1}
	switch m.SubsampleRatio {
	case stdimage.YCbCrSubsampleRatio422:
		u.hx = 2
	case stdimage.YCbCrSubsampleRatio420:
		u.hx, u.hy = 2, 2
	case stdimage.YCbCrSubsampleRatio440:
		u.hy = 2
	case stdimage.YCbCrSubsampleRatio411:
		u.hx = 4
	case stdimage.YCbCrSubsampleRatio410:
		u.hx, u.hy = 4, 2
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	u.width, u.height = (w+u.hx-1)/u.hx, (h+u.hy-1)/u.hy
	n := u.width * u.hx
	u.cb, u.cr, u.near = make([]byte, n), make([]byte, n), make([]int32, u.width)
	return u
}

// row gives the chroma of luma row y.
func (u *upsampler) row(y int) (cb, cr []byte) {
	u.plane(u.cb, u.m.Cb, y)
	u.plane(u.cr, u.m.Cr, y)
	w := u.m.Rect.Dx()
	return u.cb[:w], u.cr[:w]
}

// plane fills dst with row y of one enlarged plane. Interpolation weighs the
// nearer sample 3 and the farther 1, per axis; the rounding alternates so that
// it favours neither direction, all as in libjpeg's jdsample.c. Ratios that
// libjpeg does not interpolate repeat their samples.
func (u *upsampler) plane(dst, src []byte, y int) {
	stride := u.m.CStride
	at := func(row int) []byte { return src[row*stride : row*stride+u.width] }
	row := y / u.hy
	other := min(row+1, u.height-1)
	if y%2 == 0 {
		other = max(row-1, 0)
	}
	if u.webp {
		between(dst, at(row), at(other))
		return
	}
	narrow := u.hx == 2 && u.width <= 2
	if u.hx == 4 || narrow || u.hx == 1 && u.hy == 1 {
		for x := range dst {
			dst[x] = at(row)[x/u.hx]
		}
		return
	}
	if u.hy == 1 {
		for x, v := range at(row) {
			u.near[x] = int32(v)
		}
		spread(dst, u.near, 2, 1, 2, 0)
		return
	}
	a, b := at(row), at(other)
	for x := range u.near {
		u.near[x] = 3*int32(a[x]) + int32(b[x])
	}
	if u.hx == 2 {
		spread(dst, u.near, 4, 8, 7, 8)
		return
	}
	round := int32(1 + y%2)
	for x, v := range u.near {
		dst[x] = byte((v + round) >> 2)
	}
}

// between doubles a row that lies between a near and a far one, in the two
// roundings of libwebp's fancy upsampling.
func between(dst, near, far []byte) {
	end := func(x int) byte { return byte((3*int(near[x]) + int(far[x]) + 2) >> 2) }
	last := len(near) - 1
	dst[0], dst[2*last+1] = end(0), end(last)
	for x := 1; x <= last; x++ {
		l, r, farL, farR := int(near[x-1]), int(near[x]), int(far[x-1]), int(far[x])
		sum := l + r + farL + farR + 8
		dst[2*x-1] = byte(((sum+2*(r+farL))>>3 + l) >> 1)
		dst[2*x] = byte(((sum+2*(l+farR))>>3 + r) >> 1)
	}
}

// spread doubles a row: each sample gives (3*it + left + even) and (3*it +
// right + odd), shifted right by shift; the two ends are 4*it + edge.
func spread(dst []byte, s []int32, shift int, even, odd, edge int32) {
	last := len(s) - 1
	for x, v := range s {
		l, r := 4*v+edge, 4*v+odd
		if edge == 0 {
			r = 4 * v
		}
		if x > 0 {
			l = 3*v + s[x-1] + even
		}
		if x < last {
			r = 3*v + s[x+1] + odd
		}
		dst[2*x], dst[2*x+1] = byte(l>>shift), byte(r>>shift)
	}
}
