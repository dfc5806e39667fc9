// Package image turns picture files into model inputs: it decodes, turns
// upright, resizes bit for bit as Pillow does, crops, scales and lays out, all
// by a Recipe that is written down and never guessed. docs/PREPROCESSING.md
// describes recipes.
package image

import "fmt"

// Pixels is an 8-bit picture, row by row, channels interleaved: 3 channels
// are R, G, B; 1 is grey. Transparency is dropped at decoding, not blended.
type Pixels struct {
	Width, Height, Channels int
	Pix                     []byte
}

// NewPixels makes a black picture.
func NewPixels(width, height, channels int) *Pixels {
	return &Pixels{width, height, channels, make([]byte, width*height*channels)}
}

// row is the bytes of line y.
func (p *Pixels) row(y int) []byte {
	n := p.Width * p.Channels
	return p.Pix[y*n : (y+1)*n]
}

// RGB gives p with three channels.
func (p *Pixels) RGB() *Pixels {
	if p.Channels == 3 {
		return p
	}
	out := NewPixels(p.Width, p.Height, 3)
	for i, v := range p.Pix {
		out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = v, v, v
	}
	return out
}

// Gray gives p's luma (ITU-R 601-2) with the rounding of Pillow's convert("L").
func (p *Pixels) Gray() *Pixels {
	if p.Channels == 1 {
		return p
	}
	out := NewPixels(p.Width, p.Height, 1)
	for i := range out.Pix {
		r, g, b := uint32(p.Pix[3*i]), uint32(p.Pix[3*i+1]), uint32(p.Pix[3*i+2])
		out.Pix[i] = byte((r*19595 + g*38470 + b*7471 + 1<<15) >> 16)
	}
	return out
}

// CropCenter cuts w x h out of the middle; an odd margin leaves the extra
// line at the right and bottom. p must be at least that large.
func (p *Pixels) CropCenter(w, h int) (*Pixels, error) {
	if w > p.Width || h > p.Height {
		return nil, fmt.Errorf("crop: %dx%d does not fit in the picture of %dx%d; resize it larger first", w, h, p.Width, p.Height)
	}
	out := NewPixels(w, h, p.Channels)
	left := (p.Width - w) / 2 * p.Channels
	top := (p.Height - h) / 2
	for y := range h {
		copy(out.row(y), p.row(top + y)[left:])
	}
	return out, nil
}

// Letterbox resizes p to fit inside w x h with its aspect ratio kept, centred
// on a ground of the given value.
func (p *Pixels) Letterbox(w, h int, f Filter, ground byte) *Pixels {
	scale := min(float64(w)/float64(p.Width), float64(h)/float64(p.Height))
	in := p.Resize(fitted(p.Width, scale, w), fitted(p.Height, scale, h), f)
	out := NewPixels(w, h, p.Channels)
	for i := range out.Pix {
		out.Pix[i] = ground
	}
	left, top := (w-in.Width)/2*p.Channels, (h-in.Height)/2
	for y := range in.Height {
		copy(out.row(top + y)[left:], in.row(y))
	}
	return out
}

// fitted is side*scale to the nearest pixel, from 1 to limit.
func fitted(side int, scale float64, limit int) int {
	return min(max(int(float64(float64(side)*scale)+0.5), 1), limit)
}

// ShorterSide gives the size at which p's shorter side is n pixels; the longer
// one is rounded down, as torchvision and Hugging Face do.
func (p *Pixels) ShorterSide(n int) (w, h int) {
	if p.Width <= p.Height {
		return n, max(n*p.Height/p.Width, 1)
	}
	return max(n*p.Width/p.Height, 1), n
}
