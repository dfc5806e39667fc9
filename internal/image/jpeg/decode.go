package jpeg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
)

// component is a plane of samples.
type component struct {
	id, h, v int // identifier and sampling factors
	quant    int
	dc, ac   int
	stride   int    // of whole blocks
	samples  []byte // stride × rows of whole blocks
	pred     int32
}

type decoder struct {
	data       []byte // what follows the marker being read
	width      int
	height     int
	comps      []component
	quants     [4][64]uint16
	haveQuant  [4]bool
	huff       [2][4]huffman // dc, ac
	restart    int
	adobe      int // its transform, or -1
	maxH, maxV int
}

// Decode reads a file of at most maxPixels pixels: a Gray or YCbCr picture.
func Decode(b []byte, maxPixels int) (image.Image, error) {
	d := &decoder{data: b, adobe: -1}
	if len(b) < 2 || b[0] != 0xff || b[1] != 0xd8 {
		return nil, errors.New("jpeg: no JPEG file")
	}
	d.data = b[2:]
	for {
		marker, seg, err := d.next()
		if err != nil {
			return nil, err
		}
		switch {
		case marker == 0xc0 || marker == 0xc1:
			err = d.frame(seg, maxPixels)
		case marker == 0xc4:
			err = d.huffmanTables(seg)
		case marker > 0xc1 && marker <= 0xcf && marker != 0xc8:
			return nil, ErrUnsupported
		case marker == 0xdb:
			err = d.quantTables(seg)
		case marker == 0xdd && len(seg) >= 2:
			d.restart = int(binary.BigEndian.Uint16(seg))
		case marker == 0xee && len(seg) >= 12 && string(seg[:5]) == "Adobe":
			d.adobe = int(seg[11])
		case marker == 0xda:
			if err := d.scan(seg); err != nil {
				return nil, err
			}
			return d.picture(), nil
		case marker == 0xd9:
			return nil, errors.New("jpeg: the file ends before its picture")
		}
		if err != nil {
			return nil, err
		}
	}
}

// next gives the next marker and its segment.
func (d *decoder) next() (marker byte, seg []byte, err error) {
	for len(d.data) >= 2 && (d.data[0] != 0xff || d.data[1] == 0xff || d.data[1] == 0) {
		d.data = d.data[1:]
	}
	if len(d.data) < 4 {
		return 0, nil, errors.New("jpeg: unexpected end of the file")
	}
	marker = d.data[1]
	d.data = d.data[2:]
	if marker == 0xd8 || marker == 0xd9 || marker == 1 || marker >= 0xd0 && marker <= 0xd7 {
		return marker, nil, nil
	}
	n := int(binary.BigEndian.Uint16(d.data))
	if n < 2 || n > len(d.data) {
		return 0, nil, fmt.Errorf("jpeg: segment %#x has %d bytes, but %d are left", marker, n, len(d.data))
	}
	seg, d.data = d.data[2:n], d.data[n:]
	return marker, seg, nil
}

func (d *decoder) frame(b []byte, maxPixels int) error {
	if len(b) < 6 || d.comps != nil {
		return errors.New("jpeg: malformed frame header")
	}
	d.height, d.width = int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
	n := int(b[5])
	if b[0] != 8 || n != 1 && n != 3 || d.height == 0 {
		return ErrUnsupported
	}
	if len(b) < 6+3*n || d.width == 0 {
		return errors.New("jpeg: malformed frame header")
	}
	if d.width > maxPixels/d.height {
		return fmt.Errorf("jpeg: %d×%d is more than %d pixels", d.width, d.height, maxPixels)
	}
	for i := range n {
		p := b[6+3*i:]
		c := component{id: int(p[0]), h: int(p[1] >> 4), v: int(p[1] & 15), quant: int(p[2])}
		if c.h < 1 || c.h > 2 || c.v < 1 || c.v > 2 || c.quant > 3 {
			return ErrUnsupported
		}
		if n == 1 {
			c.h, c.v = 1, 1
		}
		d.comps = append(d.comps, c)
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	return d.layout()
}

// layout sizes the planes. Colours are at full size, half the width, or half of
// both.
func (d *decoder) layout() error {
	if len(d.comps) == 3 {
		y, cb, cr := d.comps[0], d.comps[1], d.comps[2]
		if y.h != d.maxH || y.v != d.maxV || cb.h != 1 || cb.v != 1 || cr.h != 1 || cr.v != 1 {
			return ErrUnsupported
		}
		if y.id == 'R' && cb.id == 'G' && cr.id == 'B' || d.adobe == 0 {
			return ErrUnsupported // RGB, not YCbCr
		}
	}
	mcuW, mcuH := ceil(d.width, 8*d.maxH), ceil(d.height, 8*d.maxV)
	for i := range d.comps {
		c := &d.comps[i]
		c.stride = mcuW * c.h * 8
		c.samples = make([]byte, c.stride*mcuH*c.v*8)
	}
	return nil
}

// picture makes a picture of the planes.
func (d *decoder) picture() image.Image {
	y, r := &d.comps[0], image.Rect(0, 0, d.width, d.height)
	if len(d.comps) == 1 {
		return &image.Gray{Pix: y.samples, Stride: y.stride, Rect: r}
	}
	ratio := map[[2]int]image.YCbCrSubsampleRatio{
		{1, 1}: image.YCbCrSubsampleRatio444, {2, 1}: image.YCbCrSubsampleRatio422, {1, 2}: image.YCbCrSubsampleRatio440, {2, 2}: image.YCbCrSubsampleRatio420,
	}[[2]int{d.maxH, d.maxV}]
	cb, cr := &d.comps[1], &d.comps[2]
	return &image.YCbCr{Y: y.samples, Cb: cb.samples, Cr: cr.samples, YStride: y.stride, CStride: cb.stride, SubsampleRatio: ratio, Rect: r}
}

func ceil(a, b int) int { return (a + b - 1) / b }

func (d *decoder) quantTables(b []byte) error {
	for len(b) > 0 {
		wide, at := b[0]>>4, b[0]&15
		n := 64 * (1 + int(wide))
		if wide > 1 || at > 3 || len(b) < 1+n {
			return errors.New("jpeg: malformed quantization table")
		}
		for i := range 64 {
			v := uint16(b[1+i])
			if wide == 1 {
				v = binary.BigEndian.Uint16(b[1+2*i:])
			}
			d.quants[at][zigzag[i]] = v
		}
		d.haveQuant[at] = true
		b = b[1+n:]
	}
	return nil
}

// zigzag gives the place in a block of each coefficient as it is stored.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// scan reads the one scan of a baseline file, which has all components.
func (d *decoder) scan(b []byte) error {
	n := len(d.comps)
	if n == 0 || len(b) < 1 {
		return errors.New("jpeg: a scan without a frame")
	}
	if int(b[0]) != n {
		return ErrUnsupported
	}
	if len(b) < 4+2*n {
		return errors.New("jpeg: malformed scan header")
	}
	for i := range d.comps {
		c := &d.comps[i]
		if int(b[1+2*i]) != c.id {
			return ErrUnsupported
		}
		c.dc, c.ac = int(b[2+2*i]>>4), int(b[2+2*i]&15)
		if c.dc > 3 || c.ac > 3 || !d.huff[0][c.dc].ok || !d.huff[1][c.ac].ok || !d.haveQuant[c.quant] {
			return errors.New("jpeg: the scan names tables that are not there")
		}
	}
	return d.blocks()
}

func (d *decoder) blocks() error {
	r := &bits{data: d.data}
	mcuW, mcuH := ceil(d.width, 8*d.maxH), ceil(d.height, 8*d.maxV)
	var block [64]int32
	for mcu := range mcuW * mcuH {
		if d.restart > 0 && mcu > 0 && mcu%d.restart == 0 {
			r.restart()
			for i := range d.comps {
				d.comps[i].pred = 0
			}
		}
		for i := range d.comps {
			c := &d.comps[i]
			for k := range c.h * c.v {
				if err := d.block(r, c, &block); err != nil {
					return err
				}
				x, y := (mcu%mcuW*c.h+k%c.h)*8, (mcu/mcuW*c.v+k/c.h)*8
				inverse(&block, c.samples[y*c.stride+x:], c.stride)
			}
		}
	}
	return nil
}

// block reads one block of coefficients, dequantized.
func (d *decoder) block(r *bits, c *component, block *[64]int32) error {
	*block = [64]int32{}
	q := &d.quants[c.quant]
	size, err := d.huff[0][c.dc].decode(r)
	if err != nil {
		return err
	}
	if size > 11 {
		return errors.New("jpeg: malformed coefficient")
	}
	c.pred += r.signed(int(size))
	block[0] = c.pred * int32(q[0])
	for k := 1; k < 64; k++ {
		rs, err := d.huff[1][c.ac].decode(r)
		if err != nil {
			return err
		}
		run, size := int(rs>>4), int(rs&15)
		if size == 0 {
			if run != 15 {
				break
			}
			k += 15
			continue
		}
		if k += run; k > 63 || size > 10 {
			return errors.New("jpeg: malformed coefficient")
		}
		at := zigzag[k]
		block[at] = r.signed(size) * int32(q[at])
	}
	return nil
}
