package image

import (
	"bytes"
	"encoding/binary"
)

// upright undoes an Exif orientation: 1 to 8, where 1 is upright.
func (p *Pixels) upright(o int) *Pixels {
	if o < 2 || o > 8 {
		return p
	}
	w, h := p.Width, p.Height
	if o >= 5 {
		w, h = h, w
	}
	out := NewPixels(w, h, p.Channels)
	c := p.Channels
	for y := range h {
		dst := out.row(y)
		for x := range w {
			sx, sy := source(o, x, y, p.Width, p.Height)
			copy(dst[x*c:(x+1)*c], p.Pix[(sy*p.Width+sx)*c:])
		}
	}
	return out
}

// source tells where pixel x, y of the upright picture is stored in a picture
// of w x h, by Exif 2.32, table 6.
func source(o, x, y, w, h int) (int, int) {
	switch o {
	case 2:
		return w - 1 - x, y
	case 3:
		return w - 1 - x, h - 1 - y
	case 4:
		return x, h - 1 - y
	case 5:
		return y, x
	case 6:
		return y, h - 1 - x
	case 7:
		return w - 1 - y, h - 1 - x
	case 8:
		return w - 1 - y, x
	}
	return x, y
}

// orientation reads tag 0x0112 out of a TIFF block; 1 if there is none, or if
// the block is damaged, as every viewer does.
func orientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 1
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 1
	}
	n := int(order.Uint16(tiff[at:]))
	entries := tiff[at+2:]
	for i := 0; i < n && len(entries) >= 12; i++ {
		const tag, short = 0x0112, 3
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short {
			return int(order.Uint16(entries[8:]))
		}
		entries = entries[12:]
	}
	return 1
}

// exifInJPEG finds the APP1 segment before the picture's data.
func exifInJPEG(b []byte) []byte {
	b = b[2:]
	for len(b) >= 4 && b[0] == 0xff {
		marker := b[1]
		if marker == 0xff { // fill byte
			b = b[1:]
			continue
		}
		if marker == 0xda || marker == 0xd9 { // start of scan, end of image
			return nil
		}
		n := 2 + int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			return nil
		}
		if body := b[4:n]; marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")) {
			return body[6:]
		}
		b = b[n:]
	}
	return nil
}

// exifInPNG finds the eXIf chunk.
func exifInPNG(b []byte) []byte {
	b = b[8:]
	for len(b) >= 12 {
		n := uint64(binary.BigEndian.Uint32(b))
		if n+12 > uint64(len(b)) {
			return nil
		}
		if string(b[4:8]) == "eXIf" {
			return b[8 : 8+n]
		}
		b = b[12+n:]
	}
	return nil
}

// exifInWebP finds the EXIF chunk of the RIFF container.
func exifInWebP(b []byte) []byte {
	b = b[12:]
	for len(b) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(b[4:]))
		if n+8 > uint64(len(b)) {
			return nil
		}
		if string(b[:4]) == "EXIF" {
			return bytes.TrimPrefix(b[8:8+n], []byte("Exif\x00\x00"))
		}
		b = b[min(8+n+n%2, uint64(len(b))):] // chunks are padded to even length
	}
	return nil
}
