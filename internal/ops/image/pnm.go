package image

import (
	"fmt"
	"strconv"

	"github.com/salver-ml/salver/internal/image"
)

// pnm reads the portable bitmap formats P1 to P6 (Netpbm).
type pnm struct{ rest []byte }

// number reads a decimal number after white space and comments.
func (r *pnm) number() (int, error) {
	for len(r.rest) > 0 {
		switch c := r.rest[0]; {
		case c == '#':
			for len(r.rest) > 0 && r.rest[0] != '\n' {
				r.rest = r.rest[1:]
			}
		case c == ' ' || c >= '\t' && c <= '\r':
			r.rest = r.rest[1:]
		default:
			n := 0
			for n < len(r.rest) && r.rest[n] >= '0' && r.rest[n] <= '9' {
				n++
			}
			v, err := strconv.Atoi(string(r.rest[:n]))
			r.rest = r.rest[n:]
			return v, err
		}
	}
	return 0, fmt.Errorf("the file ends early")
}

// bit reads one digit of a plain bitmap, which need not be separated.
func (r *pnm) bit() (int, error) {
	for len(r.rest) > 0 {
		c := r.rest[0]
		r.rest = r.rest[1:]
		if c == '0' || c == '1' {
			return int('1' - c), nil // 1 is black
		}
	}
	return 0, fmt.Errorf("the file ends early")
}

func decodePNM(b []byte) (*image.Pixels, error) {
	kind := b[1] - '0'
	r := pnm{b[2:]}
	w, err := r.number()
	if err != nil {
		return nil, err
	}
	h, err := r.number()
	if err != nil {
		return nil, err
	}
	most := 1
	if kind != 1 && kind != 4 {
		if most, err = r.number(); err != nil {
			return nil, err
		}
	}
	if w < 1 || h < 1 || w > image.DefaultLimits.Pixels/h || most < 1 || most > 65535 {
		return nil, fmt.Errorf("%dx%d of %d levels: expected 1 to %d pixels of 2 to 65536 levels", w, h, most+1, image.DefaultLimits.Pixels)
	}
	channels := 1
	if kind == 3 || kind == 6 {
		channels = 3
	}
	if kind > 3 {
		if len(r.rest) == 0 {
			return nil, fmt.Errorf("the file ends early")
		}
		r.rest = r.rest[1:] // one white space before the samples
	}
	if need := r.least(kind, w, h, channels, most); len(r.rest) < need {
		return nil, fmt.Errorf("%d bytes of samples, expected at least %d", len(r.rest), need)
	}
	p := image.NewPixels(w, h, channels)
	for i := range p.Pix {
		v, err := r.sample(kind, i, w, most)
		if err != nil {
			return nil, err
		}
		p.Pix[i] = byte(min(v, most) * 255 / most)
	}
	return p, nil
}

// least is how many bytes the samples take at least.
func (r *pnm) least(kind byte, w, h, channels, most int) int {
	switch {
	case kind == 4:
		return (w + 7) / 8 * h
	case kind > 4 && most > 255:
		return 2 * w * h * channels
	}
	return w * h * channels
}

func (r *pnm) sample(kind byte, i, w, most int) (int, error) {
	switch {
	case kind == 1:
		return r.bit()
	case kind < 4:
		return r.number()
	case kind == 4:
		x, y := i%w, i/w
		return int(^r.rest[y*((w+7)/8)+x/8]>>(7-x%8)) & 1, nil
	case most > 255:
		return int(r.rest[2*i])<<8 | int(r.rest[2*i+1]), nil
	}
	return int(r.rest[i]), nil
}
